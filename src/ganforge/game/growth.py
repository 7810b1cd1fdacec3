"""Growth by images seen: which resolution the networks of a progressive GAN have, and how far it is faded in."""

from dataclasses import dataclass

from ganforge.errors import require


@dataclass(frozen=True)
class Growth:
    """Karras et al. 2018, section 2: the coarsest level for `stable` images, then each next one for `fade` images, in
    which it comes in linearly, and `stable` more. A pure function of images seen, so that nothing else is to be saved.
    """

    fade: int = 600_000
    stable: int = 600_000

    def __post_init__(self) -> None:
        for name in ("fade", "stable"):
            value = getattr(self, name)
            require(isinstance(value, int) and value >= 1, f"model.growth.{name}={value}: images, 1 or more")

    def at(self, images_seen: int, levels: int) -> tuple[int, float]:
        """The level, from 0 to levels - 1, and the share alpha in (0, 1] of it that is seen; the rest is coarser."""
        level, into = divmod(images_seen + self.fade, self.fade + self.stable)
        if level >= levels:
            return levels - 1, 1.0
        return level, 1.0 if level == 0 else min(1.0, into / self.fade)

    def full_from(self, levels: int) -> int:
        """The images after which the networks are whole."""
        return (levels - 1) * (self.fade + self.stable)
