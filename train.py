"""Train a GAN: python train.py model=pix2pix data=lattice. `python train.py --help` lists the choices."""

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> float:
    from ganforge.experiment import start  # after Hydra: --help and wrong names answer without loading torch

    return start(config)


if __name__ == "__main__":
    main()
