"""Train a GAN: python train.py model=pix2pix data=lattice. `python train.py --help` lists the choices."""

import sys

import hydra
from omegaconf import DictConfig

import ganforge.settings  # noqa: F401  the resolvers of conf/, for --cfg job --resolve
from ganforge.words import one_sentence


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> float:
    from ganforge.experiment import start  # after Hydra: --help and wrong names answer without loading torch

    return start(config)


if __name__ == "__main__":
    with one_sentence(sys.argv[1:]):
        main()
