"""Images in, numbers out. A metric says what it needs of the data; it knows nothing of the GAN that made the images."""

from ganforge.evaluation.networks import GeometricBaselines, NetworkMetrics
from ganforge.evaluation.paired import PairedMetrics

__all__ = ["GeometricBaselines", "NetworkMetrics", "PairedMetrics"]
