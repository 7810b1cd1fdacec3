"""Does a GAN for few pictures gain from beginning with the weights of another one? KID at equal images seen.

    python benchmarks/init_from.py --source FLOWERS --target FACES --weights squeezenet1_1.pth      # minutes on a CPU

Trains a DCGAN on the pictures of one folder, then on --few pictures of another one: from new weights, from those of the
first (init_from=), and from these with the first layers of the discriminator frozen (model.freeze_d=). The kernel
distance is that of torch-fidelity between --samples drawn pictures and all pictures of the second folder, times 1,000,
on the pooled features of a SqueezeNet 1.1 (a state dict with torchvision's names, of pictures in BGR, 0 to 255 less
their mean), scaled to a mean square of 1: not the KID of papers, which is on Inception's.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch_fidelity.metric_kid import kid_features_to_metric
from torchvision.models import squeezenet1_1

from ganforge.commands.sample import draw
from ganforge.data.image_folder import ImageFolderData
from ganforge.game.latents import latents
from ganforge.runs.generators import load_generator

ROOT = Path(__file__).resolve().parents[1]
KEPT = ["callbacks.earlier.save_top_k=-1", "callbacks.progress.refresh_rate=0", "~callbacks.grid"]
WAYS = {"new weights": [], "init_from": ["init_from={source}"], "frozen": ["init_from={source}", "model.freeze_d={n}"]}


class Features:
    """uint8 (B, 3, H, W) -> the mean features (B, 512) of a SqueezeNet trained on BGR in 0 to 255, less its mean."""

    def __init__(self, weights: Path):
        self.network = squeezenet1_1()
        state = torch.load(weights, map_location="cpu", weights_only=True)
        self.network.load_state_dict({name: value.float() for name, value in state.items()})
        self.network.eval()

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        mean = torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
        found = []
        for batch in images.split(64):
            large = interpolate(batch.float(), (128, 128), mode="bilinear", align_corners=False, antialias=True)
            found.append(self.network.features(large.flip(1) - mean).mean(dim=(2, 3)))
        return torch.cat(found)


def train(folder: Path, options: argparse.Namespace, data: Path, images: int, n_train: int | None, *more: str) -> None:
    """A run that has seen so many images, validated and kept at --points equal distances."""
    count = n_train or len(ImageFolderData(root=data, val_fraction=0, size=options.size).real("train"))
    epochs = max(options.points, images // (count // options.batch * options.batch))
    every = epochs // options.points
    settings = ["model=dcgan", "model/augment=diff", "data=image_folder", f"data.root={data}", "data.val_fraction=0"]
    settings += [f"data.size={options.size}", f"data.n_train={n_train or 'null'}", f"data.batch_size={options.batch}"]
    settings += ["data.n_val=16", "data.n_test=16", "data.flip=true", "evaluation=pixels", f"seed={options.seed}"]
    settings += [f"model.{network}.base_channels={options.width}" for network in ("generator", "discriminator")]
    settings += [f"trainer.max_epochs={every * options.points}", f"trainer.check_val_every_n_epoch={every}", *KEPT]
    command = [sys.executable, str(ROOT / "train.py"), *settings, *more, f"hydra.run.dir={folder}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def distance(
    checkpoint: Path, real: Tensor, features: Features, scale: Tensor, options: argparse.Namespace
) -> tuple[int, float]:
    """Images seen, and the kernel distance of what the checkpoint draws, times 1,000."""
    generator = load_generator(checkpoint)
    drawn = []
    for rows in torch.arange(options.samples).split(64):
        z = latents(rows.tolist(), generator.network.latent_dim, seed=1)
        drawn.append(((draw(generator, z, None) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))
    size = min(options.samples, len(real))
    kid = kid_features_to_metric(
        features(torch.cat(drawn)) * scale,
        real * scale,
        kid_subsets=50,
        kid_subset_size=size // 2,
        rng_seed=0,
        verbose=False,
    )
    return generator.card["images_seen"], 1000 * kid["kernel_inception_distance_mean"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="pictures of the GAN that is begun from")
    parser.add_argument("--target", type=Path, required=True, help="pictures of the GAN that begins from it")
    parser.add_argument("--weights", type=Path, required=True, help="of SqueezeNet 1.1")
    parser.add_argument("--few", type=int, default=100, help="pictures of the target to train on (default %(default)s)")
    parser.add_argument("--size", type=int, default=32, help="px (default %(default)s)")
    parser.add_argument("--width", type=int, default=32, help="base_channels (default %(default)s)")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--source-images", type=int, default=30_000, help="images seen (default %(default)s)")
    parser.add_argument("--images", type=int, default=12_000, help="images seen (default %(default)s)")
    parser.add_argument("--points", type=int, default=4, help="measurements (default %(default)s)")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--freeze", type=int, default=2, help="layers in the third row (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    features = Features(options.weights)
    pictures = ImageFolderData(root=options.target, val_fraction=0, size=options.size).real("train")
    real = features(torch.stack([pictures[index] for index in range(len(pictures))]))
    scale = real.square().mean().rsqrt()  # the cubic kernel sees nothing but the largest features
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        train(root / "source", options, options.source, options.source_images, None)
        for name, more in WAYS.items():
            folder = root / name.replace(" ", "_")
            chosen = [setting.format(source=root / "source", n=options.freeze) for setting in more]
            train(folder, options, options.target, options.images, options.few, *chosen)
            files = sorted(folder.glob("checkpoints/epoch_*.ckpt"))
            found = [distance(file, real, features, scale, options) for file in files]
            print(f"{name:12}", *(f"{seen:7,} images: {value:7.1f}" for seen, value in found), flush=True)


if __name__ == "__main__":
    main()
