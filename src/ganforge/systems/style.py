"""StyleGAN2: a generator with styles, mixed, and with a term of its own."""

import numpy as np
import torch
from torch import Tensor

from ganforge.errors import require
from ganforge.game.path_length import PathLength
from ganforge.networks import StyleGAN2Generator
from ganforge.systems.batches import Batch, Images, Terms
from ganforge.systems.latent import LatentGAN


class StyleGAN2(LatentGAN):
    """Karras et al. 2020: a `LatentGAN` of a `StyleGAN2Generator`.

    path_length: a further term of the generator's loss. style_mixing: share of the images that have the styles of
    two latents, one up to some convolution and the other from there on. The rest: see `LatentGAN`.
    """

    def __init__(self, *, path_length: PathLength, style_mixing: float = 0.9, **base):
        super().__init__(**base)
        require(
            isinstance(self.generator, StyleGAN2Generator),
            f"model.generator: {type(self.generator).__name__} has no styles; use model/generator=stylegan2",
        )
        require(0 <= style_mixing <= 1, f"model.style_mixing={style_mixing}: a share in [0, 1]")
        self.path_length, self.style_mixing = path_length, style_mixing
        if path_length.weight:
            self.differentiated_twice = self.differentiated_twice | {"generator"}

    def with_latents(self, batch: Batch) -> Batch:
        def rows(drawn: np.random.Generator, count: int) -> np.ndarray:
            latents = drawn.standard_normal((count, 2 * self.latent_dim), dtype="float32")
            return np.concatenate([latents, drawn.random((count, 2), dtype="float32")], axis=1)

        z, other, mixed = self.draw(batch, rows).split([self.latent_dim, self.latent_dim, 2], dim=1)
        last = self.generator.n_styles
        begin = 1 + (mixed[:, 1] * (last - 1)).long()  # the first style of the other latent
        return {**batch, "z": z, "other": other, "begin": torch.where(mixed[:, 0] < self.style_mixing, begin, last)}

    def generate(self, batch: Batch) -> Images:
        return {"fake": self.generator.synthesize(self.styles(batch["z"], batch["other"], batch["begin"]))}

    def styles(self, z: Tensor, other: Tensor, begin: Tensor) -> Tensor:
        """(B, n_styles, latent_dim), of z before the style number begin (B,) and of the other latent from there on."""
        numbers = torch.arange(self.generator.n_styles, device=z.device)
        first, second = (self.generator.style(latent).unsqueeze(1) for latent in (z, other))
        return torch.where((numbers < begin[:, None])[..., None], first, second)

    def g_losses(self, batch: Batch, images: Images) -> Terms:
        terms = super().g_losses(batch, images)
        if self.path_length.weight and self.updates["g"] % self.path_length.every == 0:
            some = slice(max(1, round(len(batch["z"]) * self.path_length.share)))
            styles = self.styles(batch["z"][some], batch["other"][some], batch["begin"][some])
            terms["path_length"] = self.path_length(self.generator.synthesize, styles)
        return terms
