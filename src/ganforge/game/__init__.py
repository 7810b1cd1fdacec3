"""The rules of a game between networks: who plays, and when a move counts."""

from ganforge.game.players import Output, Player

__all__ = ["Output", "Player"]
