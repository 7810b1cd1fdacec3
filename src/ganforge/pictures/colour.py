"""CIE L*a*b* of sRGB pictures under D65, in tensors through which gradients pass: lightness apart from colour.

As IEC 61966-2-1 and CIE 15 define them, with scikit-image's matrix and white point (2° observer).
"""

import torch
from torch import Tensor

from ganforge.pictures.lab import CHROMA, EDGE, OFFSET, SLOPE, SPACE, WHITE, XYZ

__all__ = ["SPACE", "decode", "encode", "lab_of", "rgb_of"]


def lab_of(rgb: Tensor) -> Tensor:
    """sRGB (..., 3, H, W) in [0, 1] -> L in [0, 100], a and b, (..., 3, H, W)."""
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    shares = _mixed(linear, rgb.new_tensor(XYZ)) / rgb.new_tensor(WHITE)[:, None, None]
    roots = torch.where(shares > EDGE, shares.clamp(min=EDGE) ** (1 / 3), SLOPE * shares + OFFSET)
    x, y, z = roots.unbind(-3)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-3)


def rgb_of(lab: Tensor) -> Tensor:
    """The inverse of `lab_of`: sRGB (..., 3, H, W) in [0, 1].

    Colours that sRGB does not have are mixed, as light, with the grey of the same luminance until it has them: L stays.
    """
    lightness, a, b = lab.unbind(-3)
    y = (lightness + 16) / 116
    roots = torch.stack([a / 500 + y, y, y - b / 200], dim=-3)
    edge = SLOPE * EDGE + OFFSET
    shares = torch.where(roots > edge, roots.clamp(min=edge) ** 3, (roots - OFFSET) / SLOPE)
    matrix = torch.linalg.inv(torch.tensor(XYZ, dtype=torch.float64)).to(lab)
    linear = _mixed(shares * lab.new_tensor(WHITE)[:, None, None], matrix)
    linear = _desaturated(linear, shares[..., 1:2, :, :].clamp(0, 1))
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, linear * 12.92)


def encode(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures (..., 3, H, W) in [-1, 1] -> source (..., 1, H, W), lightness, and target (..., 2, H, W), colour."""
    lab = lab_of((rgb.float() + 1) / 2)
    return lab[..., :1, :, :] / 50 - 1, lab[..., 1:, :, :] / CHROMA


def decode(source: Tensor, target: Tensor) -> Tensor:
    """The inverse of `encode`: pictures (..., 3, H, W) in [-1, 1]. A target of 0 gives the grey picture."""
    lab = torch.cat([(source.float() + 1) * 50, target.float() * CHROMA], dim=-3)
    return 2 * rgb_of(lab) - 1


def _mixed(values: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("ij,...jhw->...ihw", matrix, values)


def _desaturated(linear: Tensor, luminance: Tensor) -> Tensor:
    """Light (..., 3, H, W) moved towards grey (..., 1, H, W) of its luminance as far as it takes to lie in [0, 1]."""
    away = linear - luminance
    room = torch.where(away > 0, 1 - luminance, luminance)
    share = (room / away.abs().clamp(min=1e-8)).amin(dim=-3, keepdim=True).clamp(max=1)
    return (luminance + share * away).clamp(0, 1)
