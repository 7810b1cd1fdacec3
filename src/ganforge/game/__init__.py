"""The rules of a game between networks: who plays, and when a move counts."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganforge.game.players import Output, Player

__all__ = ["Output", "Player"]


def __getattr__(name: str) -> Any:
    """Loaded when one of them is used: what is known of domains and outputs is read without torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ganforge.game import players

    return getattr(players, name)
