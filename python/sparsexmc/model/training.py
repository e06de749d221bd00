"""A training from data to a model: `sparsexmc.train`."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy.typing as npt

from .model import Model
from .run import STATE_INTERVAL, TrainingRun, check_outputs
from .wanted import Wanted


def train(
    data: Any,
    *,
    settings: Wanted = None,
    instance_weights: npt.ArrayLike | None = None,
    output: str | PathLike[str] | None = None,
    force: bool = False,
    resume: bool = False,
    init: Any = None,
    checkpoint_every: int | str | None = STATE_INTERVAL,
    keep: int = 1,
    epochs: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    num_threads: int | None = None,
    metrics_file: str | PathLike[str] | None = None,
    callbacks: Sequence[Any] = (),
    progress: bool | None = None,
) -> Model:
    """Train a model on a data set, with settings that follow from its size.

    A network with a hidden layer learns first; on sparse features linear classifiers join it, and on any features the
    nearest training instances; their weights are tuned on held-out instances.

    Args:
        data: a `sparsexmc.data.Dataset` (`Dataset(X, Y)` of your arrays), a `TextDataset` of raw texts, or the path of
            either.
        settings: what is to differ from the defaults for the data: nested tables such as
            {"model": {"hidden": 512}, "training": {"epochs": 3}}, a TOML file of them, or `Settings`. Of the settings
            of a model that was trained on data of other sizes, the sizes and what is reserved for them are not taken.
        instance_weights: [n] finite factors >= 0 on the losses of the training instances, in network and linear
            classifiers, and on their votes as neighbors; None: all 1. The mean over a batch of the network divides by
            its size, so weights with a mean of 1 suit the learning rate. Defaults, frequencies of labels and
            whatever is measured on held-out instances (validation, tuning, probabilities) do not weigh.
        output: directory that the model is saved to at the end, in one rename; until then the best epoch so far stands
            beside it as `<output>.training`.
        force: replace a model at `output`, and what an interrupted training to it has left.
        resume: go on with the training to `output` that was interrupted, from its newest state that is whole, to the
            same model, bit for bit; where there is none, start and log a warning. Give the same data; settings may be
            left out. Only device and number of threads may be others.
        init: a `Model`, a `Classifier` or the path of one, whose weights the network starts with; the optimizer begins
            anew. Features are prepared as it does, and the shape of the network is its shape; labels are matched by
            name where both have names.
        checkpoint_every: a number of steps, or a time such as "2h", between two states of the training, which stand in
            `<output>.training.states` until the end; None: the best epoch is the only one.
        keep: number of such states to keep.
        epochs, seed, device, num_threads: the same as training.epochs, model.seed, model.device and model.num_threads
            in `settings`.
        metrics_file, callbacks, progress: as in `Classifier.fit`.

    Returns:
        The model, of the best epoch by the validation metric.

    Raises:
        ArgumentError, DTypeError, DataError: data, settings or paths that cannot be meant.
        MemoryPlanError: the plan is above model.memory_limit.
        CheckpointError: `output` cannot be written, or another training writes to it. The message of an error says
            where the model of the best epoch so far stands, if there is one.
    """
    check_outputs(output, metrics_file)
    short: dict[str, dict[str, Any]] = {
        "training": {"epochs": epochs},
        "model": {"seed": seed, "device": device, "num_threads": num_threads},
    }
    over = {name: {key: value for key, value in table.items() if value is not None} for name, table in short.items()}
    run = TrainingRun(
        data,
        settings,
        instance_weights=instance_weights,
        over=over,
        output=output,
        force=force,
        resume=resume,
        init=init,
        checkpoint_every=checkpoint_every,
        keep=keep,
        progress=progress,
    )
    return run.train(metrics_file=metrics_file, callbacks=callbacks)
