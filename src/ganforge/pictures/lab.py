"""CIE L*a*b* of sRGB pictures as arrays, where no gradients are needed: `ganforge.pictures.colour` without torch.

As IEC 61966-2-1 and CIE 15 define them, with scikit-image's matrix and white point (2° observer). Arrays are (3, H, W).
"""

import numpy as np

# What a checkpoint says of the numbers of its pictures; another meaning needs another sentence.
SPACE = "CIE L*a*b* of sRGB under D65: source L/50 - 1, target a/110 and b/110"

CHROMA = 110.0  # a and b of sRGB lie within -108 and 99
XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))  # of RGB
WHITE = (0.95047, 1.0, 1.08883)
EDGE, SLOPE, OFFSET = 0.008856, 7.787, 16 / 116  # of the straight part of the cube root

_TO_XYZ, _TO_RGB = np.array(XYZ, np.float32), np.linalg.inv(np.array(XYZ)).astype(np.float32)
_WHITE = np.array(WHITE, np.float32)[:, None, None]


def lightness(picture: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> L/50 - 1, float32 (H, W): what a network that colours is given."""
    rgb = picture.transpose(2, 0, 1).astype(np.float32) / 255
    linear = np.where(rgb > 0.04045, ((np.maximum(rgb, 0.04045) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    y = np.tensordot(_TO_XYZ[1], linear, 1) / _WHITE[1]
    return (116 * _root(y) - 16) / 50 - 1


def painted(lightness: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """L/50 - 1 (H, W) and a/110, b/110 (2, H, W) -> uint8 (H, W, 3).

    Colours that sRGB does not have are mixed, as light, with the grey of the same luminance until it has them: L stays.
    """
    a, b = colours * np.float32(CHROMA)
    y = ((lightness + 1) * 50 + 16) / 116
    roots = np.stack([a / 500 + y, y, y - b / 200]).astype(np.float32)
    edge = SLOPE * EDGE + OFFSET
    shares = np.where(roots > edge, np.maximum(roots, edge) ** 3, (roots - OFFSET) / SLOPE)
    linear = _desaturated(np.tensordot(_TO_RGB, shares * _WHITE, 1), shares[1:2].clip(0, 1))
    rgb = np.where(linear > 0.0031308, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055, linear * 12.92)
    return np.rint(rgb * 255).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def _root(share: np.ndarray) -> np.ndarray:
    return np.where(share > EDGE, np.cbrt(np.maximum(share, EDGE)), SLOPE * share + OFFSET)


def _desaturated(linear: np.ndarray, luminance: np.ndarray) -> np.ndarray:
    """Light (3, H, W) moved towards grey (1, H, W) of its luminance as far as it takes to lie in [0, 1]."""
    away = linear - luminance
    room = np.where(away > 0, 1 - luminance, luminance)
    share = (room / np.maximum(np.abs(away), 1e-8)).min(axis=0, keepdims=True).clip(max=1)
    return (luminance + share * away).clip(0, 1)
