"""`fit(average=...)`: what is validated, kept and left at the end, and how it resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from harness import ON_DEVICE, Arrays, assert_same_bits, tensors

FEATURES, LABELS, EPOCHS = 16, 30, 3
RNG = np.random.default_rng(5)
X = RNG.standard_normal((80, FEATURES)).astype(np.float32)
Y = sp.random(80, LABELS, 0.1, "csr", np.float32, rng=RNG)
X_HELD = RNG.standard_normal((40, FEATURES)).astype(np.float32)
Y_HELD = sp.random(40, LABELS, 0.1, "csr", np.float32, rng=RNG)
EMA = sx.WeightAverage("ema", decay=0.7)


def classifier(**options: Any) -> sx.Classifier:
    settings: dict[str, Any] = {
        "fan_in": 8,
        "group_size": 4,
        "dense_labels": 10,
        "rewiring": sx.Rewiring(interval=4, grow_batches=3),
        "optimizer": sx.Adam(0.05),
        "batch_size": 16,
        "num_threads": 2,
    }
    return sx.Classifier(FEATURES, LABELS, **(settings | ON_DEVICE | options))


def fit(c: sx.Classifier, **options: Any) -> sx.History:
    settings: dict[str, Any] = {"epochs": EPOCHS, "progress": False, "validation": (X_HELD, Y_HELD)}
    return c.fit(X, Y, **(settings | {"validation_metric": "nDCG@5"} | options))


class Watch:
    """Averages as they are after every step, and what callbacks see at the end of an epoch."""

    def __init__(self) -> None:
        self.averages: Arrays = {}
        self.trained: Arrays = {}
        self.scores: list[float] = []

    def on_step(self, c: sx.Classifier, info: sx.StepInfo) -> None:
        state = tensors(c)
        names = [n.removeprefix("optimizer.").removesuffix(".average") for n in state if n.endswith(".average")]
        self.averages = {name: state[f"optimizer.{name}.average"] for name in names}
        self.trained = {name: state[name] for name in names}

    def on_epoch(self, c: sx.Classifier, info: sx.EpochInfo) -> None:
        assert c.average_in_use
        assert_same_bits({name: tensors(c)[name] for name in self.averages}, self.averages)
        self.scores.append(sx.metrics.ndcg_at_k(c.topk(X_HELD, 5)[1], Y_HELD, 5))


def test_ends_with_the_averages_and_without_their_memory(tmp_path: Path) -> None:
    c, watch = classifier(), Watch()
    planned = c.memory.planned
    history = fit(c, average=EMA, callbacks=[watch], checkpoint=tmp_path / "best")
    assert [epoch.validation["nDCG@5"] for epoch in history.epochs] == pytest.approx(watch.scores, rel=1e-12)
    assert_same_bits({name: tensors(c)[name] for name in watch.averages}, watch.averages)
    assert c.config["average"] is None and not c.average_in_use and c.averaged == 0
    assert c.memory.planned == c.memory.current == planned
    assert c.memory.peak == classifier(average=EMA).memory.planned
    plain = classifier()
    fit(plain)
    assert_same_bits({name: tensors(plain)[name] for name in watch.trained}, watch.trained)

    best = sx.load(tmp_path / "best", trainable=False)
    assert history.best_epoch is not None
    value = history.epochs[history.best_epoch - 1].validation["nDCG@5"]
    assert sx.metrics.ndcg_at_k(best.topk(X_HELD, 5)[1], Y_HELD, 5) == pytest.approx(value, rel=1e-12)
    c.save(tmp_path / "final")
    assert_same_bits(tensors(sx.load(tmp_path / "final")), tensors(c))


def test_own_average_stays_and_training_goes_on_from_the_trained_weights(tmp_path: Path) -> None:
    """Two epochs are one epoch, saved and loaded, and one more."""
    both, one = (classifier(average=EMA, rewiring=None) for _ in range(2))
    fit(both, epochs=2, validation=None)
    fit(one, epochs=1, validation=None)
    one.save(tmp_path / "one")
    loaded = sx.load(tmp_path / "one")
    fit(loaded, epochs=1, validation=None)
    assert loaded.average_in_use and (loaded.averaged, one.averaged) == (10, 5)
    assert_same_bits(tensors(loaded), tensors(both))
    assert loaded.memory.planned == loaded.memory.current == loaded.memory.peak


def test_another_average_than_its_own_is_refused() -> None:
    c = classifier(average="ema")
    with pytest.raises(sx.ArgumentError, match="average=.*decay=0.7.*leave it out"):
        fit(c, average=EMA)
    fit(c, average="ema")
    assert c.config["average"] is None


def test_epochs_before_the_start_are_those_of_the_trained_weights() -> None:
    c, plain = classifier(), classifier()
    late = fit(c, average=sx.WeightAverage("ema", start=5)).epochs  # 5 steps an epoch
    trained = fit(plain).epochs
    assert late[0].validation == trained[0].validation and late[2].validation != trained[2].validation


class Stop(Exception):
    pass


class StopAt:
    def __init__(self, step: int | None) -> None:
        self.step = step

    def on_step(self, c: sx.Classifier, info: sx.StepInfo) -> None:
        if info.step == self.step:
            raise Stop


@pytest.mark.parametrize("average", [EMA, sx.WeightAverage("mean", start=4)], ids=["ema", "mean"])
@pytest.mark.parametrize("step", [3, 7, 11])  # 11: from the best epoch or the last, with averages in use
@pytest.mark.parametrize("own", [False, True])
def test_resumes_with_the_same_bits(step: int, own: bool, average: sx.WeightAverage, tmp_path: Path) -> None:
    made: dict[str, Any] = {"average": average} if own else {}
    given: dict[str, Any] = {} if own else {"average": average}
    every = {"checkpoint_every": 2 if step == 7 else 1000}
    whole = classifier(**made)
    expected = fit(whole, **given, callbacks=[StopAt(None)], checkpoint=tmp_path / "whole", **every)
    with pytest.raises(Stop):
        fit(classifier(**made), **given, callbacks=[StopAt(step)], checkpoint=tmp_path / "killed", **every)
    resumed = classifier(**made)
    history = fit(resumed, **given, callbacks=[StopAt(None)], checkpoint=tmp_path / "killed", resume=True, **every)
    assert_same_bits(tensors(resumed), tensors(whole))
    assert [epoch.validation for epoch in history.epochs] == [epoch.validation for epoch in expected.epochs]
    assert_same_bits(tensors(sx.load(tmp_path / "killed")), tensors(sx.load(tmp_path / "whole")))


def test_interrupted_with_the_averages_so_far(tmp_path: Path) -> None:
    c = classifier()
    with pytest.raises(Stop):
        fit(c, average=EMA, callbacks=[StopAt(7)])
    assert c.config["average"] is None and np.isfinite(c.topk(X_HELD, 3)[0]).all()
    assert not np.array_equal(tensors(c)["segments.0.weights"], tensors(classifier())["segments.0.weights"])


def test_resume_wants_the_same_average(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        fit(classifier(), average=EMA, callbacks=[StopAt(7)], checkpoint=tmp_path / "killed")
    c = classifier()
    for other in (None, "ema"):
        with pytest.raises(sx.ArgumentError, match="average"):
            fit(c, average=other, callbacks=[StopAt(None)], checkpoint=tmp_path / "killed", resume=True)
    assert c.config["average"] is None and c.step == 0


# ---- sx.train ----


def test_settings_of_a_training(tmp_path: Path) -> None:
    """By name, as a table or as an object; written and read; and the model ends with the averages alone."""
    data = sx.data.Dataset(X, Y)
    wanted: dict[str, Any] = {
        "model": {"num_threads": 2, "hidden": 8, "batch_size": 8},
        "neighbors": {"enabled": False},
    }
    forms = ("ema", {"method": "ema", "decay": 0.999}, sx.WeightAverage("ema"))
    models = []
    for number, form in enumerate(forms):
        settings = wanted | {"training": {"epochs": 4, "validation": 0.2, "average": form}}
        models.append(sx.train(data, settings=settings, output=tmp_path / str(number), progress=False))
        settings_back = models[-1].settings
        assert settings_back is not None and settings_back.training.average == sx.WeightAverage("ema")
        settings_back.save(tmp_path / "run.toml")
    again = sx.train(data, settings=tmp_path / "run.toml", progress=False)
    for model in (*models[1:], again, sx.load(tmp_path / "0")):
        assert model.classifier.config["average"] is None
        assert_same_bits(tensors(model.classifier), tensors(models[0].classifier))
    for wrong in ("swa", {"decai": 0.9}, {"method": "mean", "start": 2.0}):
        with pytest.raises(sx.ArgumentError, match=r"average"):
            sx.train(data, settings={"training": {"average": wrong}})
