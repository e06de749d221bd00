"""`sparsexmc.load`: whatever was saved at a path."""

from __future__ import annotations

from os import PathLike

from .._checks import require_int
from ..classifier import Classifier
from ..core.directory import ModelReader
from . import storage
from .model import Model


def load(
    path: str | PathLike[str], device: str | None = None, num_threads: int = 0, *, trainable: bool = True
) -> Model | Classifier:
    """Read what was saved at `path`: a `Model` of `sparsexmc.train` or the command line, or a `Classifier`.

    Training resumes bitwise. `Model.load` and `Classifier.load` say which of the two is expected; the latter reads the
    network of a model alone.

    Args:
        path: the directory.
        device: None: the device that is stored.
        num_threads: worker threads; 0: the default.
        trainable: False takes memory for the network's weights and prediction only. Predictions are the same, bit for
            bit; training, `eval_step`, `regroup`, setting `lr` and `save` raise ArgumentError; copies and pickles are
            for prediction only, too. The state of the optimizer is verified but not read.

    Raises:
        CheckpointError: missing, truncated, edited or of a foreign format, in any of its files.
        DeviceError: the device cannot be used.
    """
    require_int("num_threads", num_threads, 0)
    with ModelReader(path) as reader:
        if storage.is_model(reader):
            parts = storage.read(reader, device, num_threads, trainable=trainable)
            return Model._of(parts, num_threads, reader.path)
        return Classifier._read(reader, device, num_threads, trainable=trainable)
