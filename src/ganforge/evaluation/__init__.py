"""Images in, numbers out. A metric says what it needs of the data; it knows nothing of the GAN that made the images."""

from ganforge.evaluation.bands import BandBaselines, BandErrors
from ganforge.evaluation.bonds import GeometricBaselines, NetworkMetrics
from ganforge.evaluation.colour import ColourMetrics, MeanColour
from ganforge.evaluation.fidelity import Fidelity
from ganforge.evaluation.labels import ClassifierAccuracy
from ganforge.evaluation.memorization import Memorization
from ganforge.evaluation.paired import PairedMetrics
from ganforge.evaluation.partners import HistogramMatching, PartnerMetrics, RoundTrip
from ganforge.evaluation.pixels import PixelMetrics

__all__ = [
    "BandBaselines",
    "BandErrors",
    "ClassifierAccuracy",
    "ColourMetrics",
    "Fidelity",
    "GeometricBaselines",
    "HistogramMatching",
    "MeanColour",
    "Memorization",
    "NetworkMetrics",
    "PairedMetrics",
    "PartnerMetrics",
    "PixelMetrics",
    "RoundTrip",
]
