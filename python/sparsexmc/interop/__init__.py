"""Arrays of other libraries as the engine reads them, gradients as their callers expect them."""

from .dlpack import HOST, Place
from .inputs import DenseFeatures, Features, Positives, SparseFeatures

__all__ = ["HOST", "DenseFeatures", "Features", "Place", "Positives", "SparseFeatures"]
