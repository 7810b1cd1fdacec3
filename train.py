"""Train a GAN: python train.py model=pix2pix data=lattice. `python train.py --help` lists the choices."""

# Where this file says @hydra.main, Hydra's Tab completion takes it for a command.
from ganforge.commands.train import main

if __name__ == "__main__":
    main()
