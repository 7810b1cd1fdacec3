"""The first phase of a translator's training, without critics: a pure function of the images seen."""

from dataclasses import dataclass

from ganforge.errors import require


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

    def covers(self, images_seen: int) -> bool:
        """Whether the batch with which so many images have been seen belongs to it."""
        return 0 < images_seen <= self.images
