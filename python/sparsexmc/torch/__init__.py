"""The output layer as a module of PyTorch: `loss = layer(embeddings, labels); loss.backward()`.

Needs PyTorch: `pip install 'sparsexmc[torch]'`.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "sparsexmc.torch needs PyTorch, which is not installed: pip install 'sparsexmc[torch]'", name="torch"
    ) from error

from .layer import OutputLayer
from .optimizer import FusedOptimizer
from .packed import PackedOutputLayer

__all__ = ["FusedOptimizer", "OutputLayer", "PackedOutputLayer"]
