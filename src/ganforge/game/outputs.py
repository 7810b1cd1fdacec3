"""What a user gets from a trained model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Output:
    """What a user gets from a trained model: images of a network, or of its moving average where there is one.

    network: the attribute of the system. fed: "picture" (B, C, H, W) or "latent" (B, D). told: the entry of a batch
    that the network is told beside it: "label" (B,), or "labels" (B, D) of 0 and 1; None for nothing. reader: the
    attribute of the network that says which labels it sees in a picture, if there is one.
    """

    network: str
    fed: str
    told: str | None = None
    reader: str | None = None
