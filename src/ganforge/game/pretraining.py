"""The first phase of a translator's training, without critics: a pure function of the images seen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ganforge.errors import require
from ganforge.game.players import Player


@dataclass(frozen=True)
class Pretraining:
    """For the first `images`, over all devices, what generates moves alone, by the terms that need no critic.

    As in the first step of NoGAN (DeOldify): a critic that meets pictures which are nearly right has something to
    teach. The moving averages and the schedules of the learning rates run through both phases. 0: none.
    """

    images: int = 0

    def __post_init__(self) -> None:
        require(
            type(self.images) is int and self.images >= 0,
            f"model.pretrain.images={self.images}: a whole number of images, 0 (none) or more",
        )

    def refuse(self, system: str) -> None:
        """Raise UserError where it is asked for, of a system that has no such terms."""
        require(
            not self.images,
            f"model.pretrain.images={self.images}: {system} has no losses without a critic to begin with; leave it 0",
        )

    def players(self, players: Sequence[Player]) -> list[Player]:
        """Who moves in it, and at each turn."""
        return [replace(player, every=1) for player in players if player.generates]

    def covers(self, images_seen: int) -> bool:
        """Whether the batch with which so many images have been seen belongs to it."""
        return 0 < images_seen <= self.images
