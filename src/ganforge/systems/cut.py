"""CUT and FastCUT: translation one way between two kinds of pictures without pairs, by contrast of patches."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganforge.errors import require
from ganforge.game.contrastive import drawn_places, mirrored, patch_nce, patches_at
from ganforge.game.objectives import Objective
from ganforge.game.penalties import Penalties
from ganforge.game.players import Output, Player
from ganforge.game.schedules import Schedule
from ganforge.networks.layers import NORM_MODES, infer
from ganforge.networks.patch_heads import PatchHeads
from ganforge.systems import verdicts
from ganforge.systems.adversarial import Adversarial
from ganforge.systems.batches import Batch, Images, Terms, length

_DRAWN = 3  # tells places and mirrorings from other numbers that are drawn with the same seed


class CUT(Adversarial):
    """Park et al. 2020: A to B, where a patch of the translation tells its own place in the source among others.

    generator: pictures to pictures; its own layers encode both, so A and B have equally many channels. It gives
    `feature_channels` and `features`, as `ganforge.networks.ResNetGenerator` does. discriminator: pictures to logits of
    patches; it moves first. The generator moves with its heads: see `PatchHeads`.

    objective: the adversarial losses. d_weight: factor of the discriminator's loss (the authors' code halves it).
    gan_weight: of the generator's. nce_weight: of the contrast (CUT: 1, FastCUT: 10): `patch_nce` with this
    temperature, at so many patches of each picture, meant over nce_layers, names of `generator.feature_channels`.
    identity_nce: also between B and its own translation; then each counts half. flip_equivariance: at half of the turns
    the generator is given mirrored pictures, and its translations are compared with the others (FastCUT).
    heads_width: see `PatchHeads`. penalties: further terms of the discriminator's loss, on its gradients. norm_mode:
    see `ganforge.networks.layers.infer`. The rest: see `Adversarial`.

    Places and mirrorings are functions of the seed and of the images seen, the same for all pictures of a turn.
    """

    needs = frozenset({"unpaired"})
    outputs: ClassVar = {"AtoB": Output("generator", "picture")}

    def __init__(
        self,
        *,
        generator: nn.Module,
        discriminator: nn.Module,
        objective: Objective,
        optimizer_g: Callable[..., Optimizer],
        optimizer_d: Callable[..., Optimizer],
        schedule_g: Schedule,
        schedule_d: Schedule,
        clip_g: float | None = None,
        clip_d: float | None = None,
        penalties: Penalties | None = None,
        d_weight: float = 0.5,
        gan_weight: float = 1.0,
        nce_weight: float = 1.0,
        nce_layers: Sequence[str] = ("input", "down1", "down2", "block1", "block5"),
        patches: int = 256,
        temperature: float = 0.07,
        identity_nce: bool = True,
        flip_equivariance: bool = False,
        heads_width: int = 256,
        norm_mode: str = "running",
        **base,
    ):
        for name, weight in (("d_weight", d_weight), ("gan_weight", gan_weight), ("nce_weight", nce_weight)):
            require(weight >= 0, f"model.{name}={weight}: 0 or more")
        require(isinstance(patches, int) and patches >= 2, f"model.patches={patches}: 2 or more places of a picture")
        require(temperature > 0, f"model.temperature={temperature}: above 0")
        require(norm_mode in NORM_MODES, f"model.norm_mode={norm_mode!r}: choose one of {', '.join(NORM_MODES)}")
        channels = _channels(generator, nce_layers) if nce_weight else {}
        super().__init__(
            networks={
                "generator": generator,
                "heads": PatchHeads(channels, width=heads_width),
                "discriminator": discriminator,
            },
            players=[
                Player("d", ["discriminator"], optimizer_d, schedule_d, clip_d),
                Player("g", ["generator", "heads"], optimizer_g, schedule_g, clip_g, generates=True),
            ],
            averaged=["generator"],
            **base,
        )
        self.objective, self.penalties = objective, penalties or Penalties()
        self.d_weight, self.gan_weight, self.nce_weight = d_weight, gan_weight, nce_weight
        self.nce_layers, self.patches, self.temperature = tuple(channels), patches, temperature
        self.compared = ("a", "b") if identity_nce and nce_weight else ("a",)  # sides, with their translations
        self.flip_equivariance, self.norm_mode = flip_equivariance, norm_mode
        if self.penalties.chosen:
            self.differentiated_twice = frozenset({"discriminator"})

    def with_latents(self, batch: Batch) -> Batch:
        return {**batch, "moment": np.asarray(self.images_seen)}  # on the host, where places are drawn

    def generate(self, batch: Batch) -> Images:
        """The translations: "fake" of A and, where it is compared, "identity" of B. Of each layer "keys/LAYER", what
        the sources have at some places, and "places/LAYER", where the translations are to be like that.
        """
        drawn = np.random.default_rng([self.seed, int(batch["moment"]), _DRAWN])
        flips = self.flip_equivariance and drawn.random() < 0.5
        sources = torch.cat([batch[side] for side in self.compared])
        found = self.generator.features(sources.flip(-1) if flips else sources, (*self.nce_layers, "output"))
        images = dict(zip(("fake", "identity"), found["output"].split(length(batch)), strict=False))
        if flips:
            with torch.no_grad():
                found = self.generator.features(sources, self.nce_layers)
        sizes = {name: tuple(found[name].shape[-2:]) for name in self.nce_layers}
        for name, places in self._places(sizes, drawn).items():
            images[f"keys/{name}"] = patches_at(found[name].detach(), places)
            images[f"places/{name}"] = mirrored(places, sizes[name][1]) if flips else places
        return images

    def _places(self, sizes: dict[str, tuple[int, int]], drawn: np.random.Generator) -> dict[str, Tensor]:
        """Places of maps of these heights and widths, of each compared side: int64 (S, P) by layer, on the device."""
        rows = [[drawn_places(drawn, size, self.patches) for size in sizes.values()] for _ in self.compared]
        if not sizes:
            return {}
        places = torch.from_numpy(np.stack([np.concatenate(row) for row in rows]))
        # Only from pinned memory the copy does not wait for the device.
        places = (places.pin_memory() if self.on_gpu else places).to(self.device, non_blocking=True)
        return dict(zip(sizes, places.split([len(own) for own in rows[0]], dim=1), strict=True))

    def judged(self, images: Tensor) -> Tensor:
        """The discriminator's logits, float32."""
        return self.discriminator(images).float()

    def d_losses(self, batch: Batch, images: Images) -> Terms:
        logits = self.judged(batch["b"]), self.judged(images["fake"])
        verdicts.note(self, self.objective, *logits)
        return {
            "adv": self.d_weight * self.objective.d(*logits),
            **self.penalties(self.judged, batch["b"], images["fake"], self.updates["d"], self.images_seen),
        }

    def g_losses(self, batch: Batch, images: Images) -> Terms:
        real_logits = self.judged(batch["b"]) if self.objective.relativistic else None
        terms = {"adv": self.gan_weight * self.objective.g(self.judged(images["fake"]), real_logits)}
        if self.nce_layers:
            contrast = self._contrast(images).split(length(batch))
            for side, own in zip(self.compared, contrast, strict=True):
                terms[f"nce_{side}"] = self.nce_weight / len(self.compared) * own.mean()
        return terms

    def _contrast(self, images: Images) -> Tensor:
        """The contrast of each translation with its source, (S * B,): the mean over the layers."""
        translated = torch.cat([images[name] for name in ("fake", "identity") if name in images])
        found = self.generator.features(translated, self.nce_layers)
        queries = self.heads({name: patches_at(found[name], images[f"places/{name}"]) for name in self.nce_layers})
        with torch.no_grad():
            keys = self.heads({name: images[f"keys/{name}"] for name in self.nce_layers})
        contrast = [patch_nce(queries[name], keys[name], self.temperature) for name in self.nce_layers]
        return torch.stack(contrast).mean(dim=0)

    def translated(self, images: Tensor) -> Tensor:
        """What a user gets of these pictures."""
        return infer(self.inference_network("generator"), images, self.norm_mode)

    def infer(self, batch: Batch) -> Tensor:
        return self.translated(batch["a"])

    @torch.no_grad()
    def panels(self, batch: Batch, generated: Tensor) -> Images:
        """A, A to B, and where there is a B, it and what becomes of it, which is to stay as it is."""
        shown = {"A": batch["a"], "A to B": generated}
        return {**shown, "B": batch["b"], "B to B": self.translated(batch["b"])} if "b" in batch else shown


def _channels(generator: nn.Module, nce_layers: Sequence[str]) -> dict[str, int]:
    """The channels of layers of a generator; raises UserError where it lacks one, or cannot encode its own pictures."""
    kind, known = type(generator).__name__, getattr(generator, "feature_channels", {})
    require(
        {"input", "output"} <= set(known),
        f"model.generator: {kind} does not name its layers, by which patches are compared; use model/generator=resnet",
    )
    require(
        known["input"] == known["output"],
        f"data.source_channels={known['input']}, data.target_channels={known['output']}: this model encodes its "
        "translations by the network that made them, which takes as many channels as it gives; set both alike",
    )
    names = list(nce_layers)
    unknown = [str(name) for name in names if name not in known]
    require(
        bool(names) and not unknown and len(set(names)) == len(names),
        f"model.nce_layers={names}: "
        + (f"{kind} has no {' and no '.join(unknown)}" if unknown else "one or more, each once")
        + f"; choose of {', '.join(known)}",
    )
    return {name: known[name] for name in names}
