"""Values that cannot be meant get an error that names the argument and the remedy; what can be meant works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from cli_tools import SMALL, failure, make_split
from sparsexmc.training.history import Callback

X, Y = make_split(40, seed=0)
DATA = sx.data.Dataset(X, Y)
FORMATS = ("coo", "bsr", "csc", "dok", "lil")
QUICK: dict[str, Any] = {"model": {"hidden": 8}, "training": {"epochs": 1}}


def train(settings: Any = QUICK, data: sx.data.Dataset = DATA, **options: Any) -> sx.Model:
    return sx.train(data, settings=settings, progress=False, num_threads=1, **options)


@pytest.fixture(scope="module")
def model() -> sx.Model:
    return train()


# ---- settings ----


@pytest.mark.parametrize(
    "settings", [5, True, b"run.toml", [1], np.float32(2), object()], ids=lambda value: type(value).__name__
)
def test_settings_that_are_none(settings: Any) -> None:
    with pytest.raises(sx.ArgumentError, match=r"settings is .*; pass nested tables"):
        train(settings)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({5: {}}, r"key 5 of a section"),
        ({"model": {5: 1}}, r"key 5 of model"),
        ({"model": {"hidden": {None: 1}}}, r"key None of model.hidden"),
        ({"model": 5}, "model is 5, but it is a section"),
        ({"model": {"optimizer": {"name": ["adam"]}}}, r"model.optimizer.name is \['adam'\]"),
        ({"model": {"label_order": np.zeros(3)}}, "model.label_order is array"),
        ({"model": {"loss": np.zeros(3)}}, "loss=array"),
        ({"model": {"seed": np.zeros(3)}}, "seed=array"),
        ({"model": {"seed": sp.eye(3)}}, "seed=<"),
        ({"model": {"sparse_input": "yes"}}, "model.sparse_input is 'yes', but the data has True"),
        ({"model": {"initial_bias": [[1.0], [2.0, 3.0]]}}, "initial_bias is a tuple that NumPy cannot read"),
        ({"model": {"num_labels": np.arange(3)}}, "model.num_labels is array"),
        ({"data": {"tfidf": np.zeros(2)}}, "data.tfidf=array"),
        ({"data": {"ngrams": np.zeros(2)}}, "data.ngrams is for raw text"),
        ({"linear": {"cost": np.zeros(2)}}, "linear.cost=array"),
        ({"neighbors": {"space": np.zeros(2)}}, "neighbors.space=array"),
        ({"training": {"validation_metric": np.zeros(2)}}, "validation_metric=array"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_tables_that_cannot_be_meant(table: Any, message: str) -> None:
    with pytest.raises((sx.ArgumentError, sx.DTypeError), match=message):
        train(table)


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    hidden = sx.Hidden(np.int64(8), dropout=np.float32(0.25))
    optimizer = sx.Adam(np.float32(0.5), betas=(np.float32(0.5), np.float64(0.75)))
    table = {
        "model": {"hidden": hidden, "optimizer": optimizer, "sparse_input": np.True_, "fan_in": np.int32(4)},
        "training": {"epochs": np.int8(1)},
        "linear": {"cost": np.float32(0.5)},
    }
    model = train(table, output=tmp_path / "model")
    assert sx.load(tmp_path / "model").settings == model.settings
    assert (model.settings.model.hidden.dropout, model.settings.linear.cost) == (0.25, 0.5)


def test_tables_with_shorthands_make_settings() -> None:
    table = {"model": {"in_features": 9, "num_labels": 4, "hidden": 8, "optimizer": "adam", "rewiring": "set"}}
    made = sx.Settings.from_table(table)
    assert (made.model.hidden, made.model.optimizer) == (sx.Hidden(8), sx.Adam())
    assert made == sx.Settings.from_table(made.to_table())
    with pytest.raises(sx.ArgumentError, match="table is 5"):
        sx.Settings.from_table(5)
    with pytest.raises(sx.ArgumentError, match="training is 5, but it is a section"):
        sx.Settings(model=made.model, training=5, data=made.data, linear=made.linear, neighbors=made.neighbors)


def test_settings_of_a_model_for_other_data(model: sx.Model) -> None:
    """Sizes follow the data; what was chosen stays."""
    X_other, Y_other = make_split(70, seed=3)
    other = sx.data.Dataset(sp.hstack([X_other, X_other[:, :5]]), Y_other[:, :30])
    again = train(model.settings, other)
    assert (again.num_labels, again.in_features, again.settings.model.num_instances) == (30, 65, 70)
    assert again.settings.model.hidden == model.settings.model.hidden
    assert again.settings.training == model.settings.training
    assert train(model.settings).settings == model.settings  # of the same data, whatever was reserved


def test_a_file_of_settings_for_other_data(model: sx.Model, tmp_path: Path) -> None:
    model.settings.save(tmp_path / "run.toml")
    other = sx.data.Dataset(*make_split(41, seed=3))
    with pytest.raises(sx.ArgumentError, match=r"model.num_instances is 40, but the data has 41; leave out"):
        train(tmp_path / "run.toml", other)


def test_parts_that_the_features_cannot_have_are_refused_before_training() -> None:
    dense = sx.data.Dataset(X.toarray(), Y)
    with pytest.raises(sx.ArgumentError, match=r"linear.enabled = true needs sparse features"):
        train({"linear": {"enabled": True}}, dense, callbacks=[Fails()])
    with pytest.raises(sx.ArgumentError, match="the model has no hidden layer"):
        train({"model": {"hidden": "none"}, "neighbors": {"space": "hidden"}}, dense, callbacks=[Fails()])


class Fails(Callback):
    """As a full disk, after the first epoch."""

    def __init__(self, error: type[Exception] = OSError) -> None:
        self._error = error

    def on_epoch(self, classifier: Any, info: Any) -> None:
        if info.epoch == 2:
            raise self._error(28, "No space left on device", "log") if self._error is OSError else self._error("full")


@pytest.mark.parametrize("error", [OSError, sx.CheckpointError, ValueError])
def test_the_best_epoch_is_named_whatever_ends_a_training(tmp_path: Path, error: type[Exception]) -> None:
    settings = {"model": {"hidden": 8}, "training": {"epochs": 3}}
    kept = tmp_path / "model.training"
    with pytest.raises(error) as caught:
        train(settings, output=tmp_path / "model", callbacks=[Fails(error)])
    said = "; ".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert said.endswith(f"{kept} holds the model of the best epoch so far") and said != str(kept)
    assert isinstance(sx.load(kept), sx.Model)


def test_the_command_names_the_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sx.data.save(tmp_path / "data", DATA)
    save = sx.Model.save

    def full(self: sx.Model, path: Path, card: str = "") -> None:
        if path.name == "model":
            raise OSError(28, "No space left on device", str(path))
        save(self, path, card)

    monkeypatch.setattr(sx.Model, "save", full)
    error = failure(capsys, "train", tmp_path / "data", "-o", tmp_path / "model", *SMALL)
    assert error.endswith(
        "no space left on device; go on with --resume (in Python resume=True); "
        f"{tmp_path}/model.training holds the model of the best epoch so far\n"
    )


# ---- cut-offs and k ----


@pytest.mark.parametrize(
    "cutoffs", [5, "135", (), (0,), (1, 2.5), (True,), ("1",), (1, 41), np.array(3), [[1]]], ids=repr
)
def test_wrong_cutoffs(model: sx.Model, cutoffs: Any) -> None:
    for call in (lambda: model.evaluate(DATA, cutoffs=cutoffs), lambda: model.evaluate(X, Y, cutoffs=cutoffs)):
        with pytest.raises(sx.ArgumentError, match="cutoffs"):
            call()


@pytest.mark.parametrize("k", [1.5, "3", (), ((1, 2), (3,)), (1, 2.5)], ids=repr)
def test_wrong_cutoffs_of_metrics(k: Any) -> None:
    with pytest.raises((sx.ArgumentError, sx.DTypeError), match=r"^k "):
        sx.metrics.precision_at_k(np.zeros((40, 5), np.int64), Y, k)


def test_cutoffs_of_numpy(model: sx.Model) -> None:
    assert model.evaluate(DATA, cutoffs=np.array([1, 3])) == model.evaluate(DATA, cutoffs=[3, 1])


def test_fewer_labels_than_the_default_k() -> None:
    few = train(data=sx.data.Dataset(X, Y[:, :3]))
    assert few.topk(X)[1].shape == few.classifier.topk(few.features(X))[1].shape == (40, 3)
    assert len(few.predict(X)[0]) <= 3 and sx.Linear(X, Y[:, :3], rounds=1).topk(X)[1].shape == (40, 3)
    with pytest.raises(sx.ArgumentError, match="k=4 is more than num_labels=3"):
        few.topk(X, 4)


# ---- matrices ----


def every_format(matrix: sp.csr_matrix) -> list[Any]:
    return [matrix, *(matrix.asformat(name) for name in FORMATS), *(sp.csr_array(matrix).asformat(n) for n in FORMATS)]


def test_every_sparse_format_is_read(model: sx.Model) -> None:
    expected, state = model.evaluate(X, Y, filter=Y), sx.Classifier.for_data(X, Y, num_threads=1).state_dict()
    assert expected["P"][1] == 0
    for x, y in zip(every_format(X), every_format(Y), strict=True):
        assert model.evaluate(x, y, filter=y, train_labels=y)["P"] == expected["P"]
        other = sx.Classifier.for_data(x, y, num_threads=1).state_dict()
        assert all(np.array_equal(other[name], state[name]) for name in state)


@pytest.mark.parametrize("argument", ["Y", "filter", "train_labels"])
@pytest.mark.parametrize("value", ["dense", "short", "narrow"])
def test_matrices_of_evaluate_that_do_not_fit(model: sx.Model, argument: str, value: str) -> None:
    if (argument, value) == ("train_labels", "short"):
        return  # any number of training instances
    wrong = {"dense": Y.toarray(), "short": Y[:7], "narrow": Y[:, :7]}[value]
    with pytest.raises((sx.ArgumentError, sx.DTypeError), match=f"^{argument} "):
        model.evaluate(X, **({"Y": Y} | {argument: wrong}))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_for_data_names_what_is_not_finite(bad: float) -> None:
    dense = X.toarray()
    dense[7, 3] = bad
    with pytest.raises(sx.ArgumentError, match="X holds NaN or Inf, first in row 7"):
        sx.Classifier.for_data(dense, Y)
    with pytest.raises(sx.ArgumentError, match="X holds NaN, infinity"):
        sx.Classifier.for_data(sp.csr_matrix(dense), Y)


def test_no_option_is_named_where_there_is_none() -> None:
    dense = sx.Classifier(60, 40, fan_in=4, batch_size=40, num_threads=1)
    sparse = sx.Classifier(60, 40, hidden=8, sparse_input=True, fan_in=4, batch_size=40, num_threads=1)
    wrong = X.copy()
    wrong.data[0] = np.nan
    for call in (
        lambda: dense.topk(wrong.toarray()),
        lambda: sparse.topk(wrong),
        lambda: sparse.hidden_activations(wrong),
        lambda: sx.Model(dense).predict(wrong.toarray()),
    ):
        with pytest.raises(sx.ArgumentError, match="NaN or Inf among the values") as caught:
            call()
        assert "on_nonfinite" not in str(caught.value)
    with pytest.raises(sx.ArgumentError, match=r"on_nonfinite=.skip"):
        dense.train_step(wrong.toarray(), Y)


def test_sparse_tensors_of_torch() -> None:
    torch = pytest.importorskip("torch")
    dense = sx.Classifier(60, 40, fan_in=4, batch_size=40, num_threads=1)
    x, y = torch.tensor(X.toarray()), torch.tensor(Y.toarray())
    for to_sparse in (torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr):
        for call in (
            lambda s=to_sparse: dense.topk(s(x)),
            lambda s=to_sparse: dense.train_step(s(x), Y),
            lambda s=to_sparse: dense.train_step(x, s(y)),
            lambda s=to_sparse: dense.fit(s(x), Y, 1),
            lambda s=to_sparse: dense.fit(x, s(y), 1),
            lambda s=to_sparse: dense.topk(x, filter=s(y)),
            lambda s=to_sparse: sx.Model(dense).predict(s(x)),
            lambda s=to_sparse: sx.Classifier.for_data(s(x), Y),
            lambda s=to_sparse: sx.Classifier(60, 40, initial_bias=s(y)),
            lambda s=to_sparse: sx.data.Dataset(s(x), Y),
            lambda s=to_sparse: sx.metrics.precision_at_k(s(y), Y, 1),
        ):
            with pytest.raises(sx.DTypeError, match=r"torch tensor of layout|is a Tensor"):
                call()


class Frame:
    """As a DataFrame: two dimensions, and no array."""

    def __init__(self, values: Any) -> None:
        self._values, self.shape, self.ndim, self.dtypes = values, values.shape, 2, [values.dtype] * values.shape[1]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self._values, dtype)

    def __len__(self) -> int:
        return len(self._values)


def test_data_frames(model: sx.Model) -> None:
    frame, dense = Frame(X.toarray()), sx.Classifier(60, 40, fan_in=4, batch_size=40, num_threads=1)
    for call in (
        lambda: dense.topk(frame),
        lambda: dense.fit(frame, Y, 1),
        lambda: sx.Classifier.for_data(frame, Y),
        lambda: sx.Classifier.for_data(X, Frame(Y.toarray())),
        lambda: model.predict(frame),
        lambda: sx.Model(dense).predict(frame),
        lambda: sx.data.Dataset(frame, Y),
        lambda: sx.train(frame),
    ):
        with pytest.raises((sx.DTypeError, sx.ArgumentError), match="Frame"):
            call()


def test_names_in_arrays() -> None:
    names = np.array([f"label {number}" for number in range(40)])
    dataset = sx.data.Dataset(X, Y, label_names=names, instance_names=np.array([str(row) for row in range(40)]))
    assert dataset.label_names == names.tolist() and type(dataset.label_names[0]) is str
    for wrong, message in (
        (names[:3], "holds 3 names"),
        ("abc", "is a str"),
        (5, "is a int"),
        (np.array("x"), "ndarray"),
    ):
        with pytest.raises(sx.ArgumentError, match=message):
            sx.data.Dataset(X, Y, label_names=wrong)
    with pytest.raises(sx.ArgumentError, match=r"label_names\[0\] is 0, not text"):
        sx.data.Dataset(X, Y, label_names=np.arange(40))
