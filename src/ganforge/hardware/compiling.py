"""trainer.compile: networks as torch.compile makes them, where that can be done."""

import logging
from collections.abc import Collection, Mapping

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import nn
from torch._dynamo.utils import counters


def compile_networks(networks: Mapping[str, nn.Module], differentiated_twice: Collection[str]) -> None:
    """Compile networks at their first forward, but for those whose gradients are differentiated once more.

    torch.compile cannot differentiate twice, which penalties and unrolling ask of a discriminator. What else cannot be
    compiled runs as it is: see `remarks`.
    """
    torch._dynamo.config.suppress_errors = True
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)  # `remarks` says it in a line
    counters.clear()
    for name, network in networks.items():
        if name in differentiated_twice:
            said = f"trainer.compile: the {name} runs as it is, because its gradients are differentiated"
            rank_zero_only(print)(said)
        else:
            network.compile()


def remarks() -> list[str]:
    """What became of the compiled networks, a sentence each; after some forwards."""
    graphs, captured = counters["stats"].get("unique_graphs", 0), counters["frames"].get("total", 0)
    whole = counters["frames"].get("ok", 0)
    said = [f"trainer.compile: {graphs} graphs of {captured} functions compiled"]
    if whole < captured:
        said.append(f"trainer.compile: {captured - whole} functions could not be compiled and run as they are")
    for reason, count in counters["graph_break"].items():
        said.append(f"trainer.compile: cut in pieces {count} times ({str(reason).strip().splitlines()[0][:200]})")
    return said
