"""What the measures mean, in the words of someone who does not compute them."""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from ganforge.runs import summary


class Measure(NamedTuple):
    """names: a pattern of whole names, without the test set before them; better: "higher", "lower" or neither."""

    names: str
    title: str
    better: str
    meaning: str


_EXTRACTOR = "by the features of a network that was trained on real pictures"
MEASURES = (
    Measure("bond_f1", "bond F1", "higher", "of bonds drawn and bonds true, the share that agrees: the harmonic mean "
            "of precision and recall, 1 where every bond is right and none is missing"),
    Measure("bond_precision", "bond precision", "higher", "share of the drawn bonds that are true"),
    Measure("bond_recall", "bond recall", "higher", "share of the true bonds that are drawn"),
    Measure("network_exact", "exact networks", "higher", "share of networks without a single wrong or missing bond"),
    Measure("probable_f1", "F1 of probable bonds", "higher", "bond F1 of the bonds that are more likely than not by "
            "their learned probabilities, which ganforge predict writes"),
    Measure("probable_(precision|recall|exact)", "probable bonds", "higher", "precision, recall and exact networks of "
            "these"),
    Measure("zero_modes_exact", "exact zero modes", "higher", "share of networks whose mechanics, read from the "
            "picture, has as many zero modes as the true one"),
    Measure("calibration_error", "calibration error", "lower", "mean distance between the probability that is said of "
            "a doubtful bond and the share of such bonds that are there; compare with calibration_error_by_chance"),
    Measure("calibration_error_by_chance", "calibration error by chance", "", "what the calibration error would be on "
            "average if all probabilities were right, from so few doubtful pairs"),
    Measure("doubtful", "doubtful pairs", "", "number of pairs of sites of which it is not clear whether they are "
            "joined (probability between 0.05 and 0.95)"),
    Measure("site_recall", "site recall", "higher", "share of the true sites that are kept as a dot"),
    Measure("site_shift_px", "site shift", "lower", "how far these dots are from the true sites on average, in px"),
    Measure("l1", "L1", "lower", "mean absolute difference to the true picture, 0 for equal ones and 1 for black "
            "against white; blurred pictures do well in it"),
    Measure("cycle_l1", "cycle L1", "lower", "mean absolute difference between a picture and itself after the way "
            "there and back"),
    Measure("reconstruction/l1", "reconstruction", "lower", "mean absolute difference between a picture and itself "
            "after the way to another domain and back"),
    Measure("changed/l1", "change", "", "mean absolute difference between a picture and its translation"),
    Measure("psnr", "PSNR", "higher", "peak signal-to-noise ratio in dB: 10 dB more is a tenth of the squared error; "
            "20 is poor and 30 good for photographs"),
    Measure("psnr_ab", "PSNR of the colours", "higher", "the same of the two colour channels of CIE L*a*b*"),
    Measure("ssim", "SSIM", "higher", "structural similarity to the true picture within small windows, 1 for equal "
            "pictures and about 0 for unrelated ones"),
    Measure("perceptual/.+", "perceptual distance", "lower", "how different a picture looks from the true one, "
            f"{_EXTRACTOR}; 0 for equal pictures"),
    Measure("fid(/.+)?", "FID", "lower", "Fréchet distance between the features of generated and real pictures, 0 for "
            "the same distribution; too large where there are few pictures, and only comparable with the same network, "
            "number of pictures and resizing"),
    Measure("fd/.+", "Fréchet distance", "lower", f"between generated and real pictures, {_EXTRACTOR} other than "
            "Inception: not comparable with published FID; too large where there are few pictures"),
    Measure("kid(/.+)?", "KID", "lower", "kernel distance between the features of generated and real pictures; "
            "around 0 for the same distribution, and without a bias from few pictures"),
    Measure("kd/.+", "kernel distance", "lower", f"between generated and real pictures, {_EXTRACTOR} other than "
            "Inception; around 0 for the same distribution, and without a bias from few pictures"),
    Measure("is(/.+)?", "Inception Score", "higher", "how surely a classifier names a class in every picture, and how "
            "evenly all classes occur; 1 at least; real pictures are not looked at"),
    Measure("precision(/.+)?", "precision", "higher", "share of generated pictures that lie among the real ones, "
            f"{_EXTRACTOR}: are they realistic?"),
    Measure("recall(/.+)?", "recall", "higher", "share of real pictures that lie among the generated ones, "
            f"{_EXTRACTOR}: is everything drawn that there is?"),
    Measure("swd", "sliced Wasserstein distance", "lower", "between the pixels of generated and real pictures, 0 for "
            "the same distribution; needs no trained network, and grows where there are few pictures"),
    Measure("diversity", "diversity", "", "how much generated pictures differ from each other, in times of real ones: "
            "near 1 is right, near 0 is a collapsed generator"),
    Measure("duplicates", "duplicates", "lower", "share of generated pictures that have a near-identical other one"),
    Measure("memorized/.+", "memorized", "lower", "share of generated pictures that are nearer to a training picture "
            "than training pictures are to each other; about 0.01 is what new pictures give"),
    Measure("(label_|class_)?accuracy(/.+)?", "accuracy", "higher", "share of pictures whose class is told rightly"),
    Measure("recognised(/.+)?", "recognised", "higher", "share of translations in which a classifier of real pictures "
            "sees what was asked for"),
    Measure("classes/.+", "classes", "", "share of the generated pictures that a classifier takes for each class: the "
            "rarest and the most frequent"),
    Measure("colourfulness", "colourfulness", "", "0 for grey, some 100 for the most colourful photographs; right is "
            "that of the true pictures (ceiling)"),
    Measure("colourfulness_difference", "difference of colourfulness", "lower", "mean absolute difference between "
            "the colourfulness of a picture and of the true one"),
    Measure("mae(/.+)?", "MAE", "lower", "mean absolute error, in the unit of the files"),
    Measure("rmse(/.+)?", "RMSE", "lower", "root of the mean squared error, in the unit of the files; large errors "
            "weigh more than in the MAE"),
    Measure("r2(/.+)?", "R²", "higher", "share of the variance that is explained: 1 is all of it, 0 is no better than "
            "the mean, below 0 worse"),
)  # fmt: skip

_LIMITS = (
    (r"(bond_|probable_|network_exact|zero_modes_exact|site_recall|duplicates|memorized/|recognised|class_accuracy|"
     r"label_accuracy|(precision|recall|accuracy)(/|$))", (0.0, 1.0)),
    ("ssim$", (-1.0, 1.0)),
    ("r2(/|$)", (-math.inf, 1.0)),
    (r"(l1|cycle_l1|reconstruction/|psnr|perceptual/|f[i]?d(/|$)|swd$|mae|rmse|site_shift_px|\w+_difference)",
     (0.0, math.inf)),
    ("is(/|$)", (1.0, math.inf)),
)  # fmt: skip


def of(key: str) -> Measure | None:
    """What is known of a number by its name after that of the test set; a lattice or a band may follow it."""
    for name in (key, key.rpartition("/")[0]):
        found = next((measure for measure in MEASURES if re.fullmatch(measure.names, name)), None)
        if found is not None:
            return found
    return None


def better(key: str) -> str:
    """Whether a number is better the higher or the lower it is; "" where neither, or where it is not known."""
    known = of(key)
    return summary.better(key) if known is None else known.better


def title(key: str) -> str:
    """A number's name as one would say it; its own name where it is not known."""
    known = of(key)
    return key if known is None else known.title


def limits(key: str) -> tuple[float, float]:
    """Between what a number lies, whatever was measured."""
    return next((ends for names, ends in _LIMITS if re.match(names, key)), (-math.inf, math.inf))


def explained(keys: Iterable[str]) -> list[tuple[str, Measure]]:
    """The measures behind some numbers, each once under the first name that it has there, in the order of the list."""
    found: dict[Measure, str] = {}
    for key in keys:
        known = of(key)
        if known is not None:
            found.setdefault(known, key)
    return [(found[measure], measure) for measure in MEASURES if measure in found]
