"""Colour for grey pictures."""

from ganforge.systems.pix2pix import Pix2Pix


class Colorize(Pix2Pix):
    """pix2pix from lightness to colour, whose discriminator sees both: three channels of CIE L*a*b*.

    See `ganforge.pictures.colour` for what the numbers mean, and `Pix2Pix` for the game.
    """

    needs = frozenset({"colour"})
