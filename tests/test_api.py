"""The Python API: bad input gets a typed error that names the argument and the remedy, and changes nothing."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from harness import DEVICE
from small_problem import FEATURES, LABELS, ROWS, X, Y, assert_unchanged, classifier

# ---- construction ----


def test_signature_is_the_designed_one() -> None:
    parameters = inspect.signature(sx.Classifier).parameters
    designed = """
        in_features num_labels fan_in group_size dense_labels label_counts label_order hidden loss optimizer
        rewiring weight_dtype state_dtype device batch_size memory_limit num_threads seed"""
    assert set(designed.split()) <= set(parameters)
    keyword_only = [name for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    assert list(parameters)[:2] == ["in_features", "num_labels"]
    assert keyword_only == list(parameters)[2:]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fan_in": 17}, r"fan_in is 17.*16"),
        ({"fan_in": 0}, r"fan_in=0 must be an integer >= 1"),
        ({"fan_in": 2.5}, r"fan_in=2\.5 must be an integer"),
        ({"group_size": 0}, "group_size=0"),
        ({"batch_size": True}, "batch_size=True"),
        ({"dense_labels": 41}, "dense_labels=41 is more than num_labels=40"),
        ({"dense_labels": -1}, "dense_labels=-1"),
        ({"dense_labels": 1.5}, r"dense_labels=1\.5 must be a finite number >= 0 and <= 1"),
        ({"loss": "hinge"}, "loss='hinge' is not known; use one of 'bce', 'squared_hinge', 'softmax'"),
        ({"optimizer": "adam"}, r"optimizer='adam' must be one of sx\.SGD\(\.\.\.\), sx\.Adam\(\.\.\.\)"),
        ({"schedule": None}, r"schedule=None must be one of sx\.Schedule"),
        ({"rewiring": "set"}, r"rewiring='set' must be one of sx\.Rewiring\(\.\.\.\), None"),
        ({"hidden": "wide"}, r"hidden='wide' must be"),
        ({"hidden": 0}, "hidden"),
        ({"sparse_input": True}, "sparse_input=True needs a hidden layer"),
        ({"weight_dtype": "bfloat16", "device": "cpu"}, "weight_dtype is bfloat16, but on the CPU"),
        ({"weight_dtype": "float16"}, "weight_dtype='float16' is not known"),
        ({"compute_dtype": "float16"}, "compute_dtype='float16' is not known"),
        ({"compute_dtype": None}, "compute_dtype=None is not known"),
        ({"stream": 7, "device": "cpu"}, "stream=7, but the classifier is on the CPU"),
        ({"state_dtype": "float16"}, "state_dtype='float16' is not available yet"),
        ({"device": 0}, "device=0 must be text"),
        ({"device": "tpu"}, "tpu"),
        ({"memory_limit": "much"}, r"memory_limit='much' is not a size.*4GB"),
        ({"memory_limit": -1}, "memory_limit=-1"),
        ({"num_threads": -1}, "num_threads=-1"),
        ({"seed": -1}, "seed=-1"),
        ({"initial_bias": float("nan")}, "initial_bias=nan"),
        ({"label_counts": np.ones(39, int)}, "label_counts has 39 entries, but there are num_labels=40"),
        ({"label_counts": np.full(40, -1)}, "label_counts: -1 for label 0"),
        ({"label_order": np.zeros(40, int)}, "label_order: 0 at position 1 occurs twice"),
        ({"label_order": np.arange(1, 41)}, "label_order: 40 at position 39 is no label id"),
    ],
)
def test_wrong_arguments_of_the_constructor(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sx.ArgumentError, match=message):
        classifier(**options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sx.SGD(lr=-1), "lr=-1 must be a finite number >= 0"),
        (lambda: sx.SGD(lr=float("inf")), "lr=inf"),
        (lambda: sx.SGD(momentum=1.0), r"momentum=1\.0 must be a finite number >= 0 and < 1"),
        (lambda: sx.SGD(weight_decay="0.1"), "weight_decay='0.1'"),
        (lambda: sx.Adam(betas=(0.9,)), r"betas=\(0\.9,\) must be two numbers"),
        (lambda: sx.Adam(betas=(0.9, 1.0)), r"betas\[1\]=1\.0"),
        (lambda: sx.Adam(eps=0), "eps=0 must be a finite number > 0"),
        (lambda: sx.Hidden(0), r"hidden\.features=0"),
        (lambda: sx.Hidden(8, activation="gelu"), r"hidden\.activation='gelu' is not known; use one of 'relu'"),
        (lambda: sx.Hidden(8, dropout=1.0), r"hidden\.dropout=1\.0"),
        (lambda: sx.Hidden(8, initial_scale=0), r"hidden\.initial_scale=0 must be a finite number > 0"),
        (lambda: sx.Rewiring(method="magnitude"), r"rewiring\.method='magnitude' is not known.*'set', 'rigl'"),
        (lambda: sx.Rewiring(fraction=0), r"rewiring\.fraction=0"),
        (lambda: sx.Rewiring(interval=0), r"rewiring\.interval=0"),
        (lambda: sx.Rewiring(start=10, stop=10), r"rewiring\.stop=10 must be an integer >= 11"),
        (lambda: sx.Rewiring(scope="row"), r"rewiring\.scope='row'"),
        (lambda: sx.Schedule("step"), r"schedule\.kind='step' is not known"),
        (lambda: sx.Schedule("cosine", warmup_steps=10, total_steps=10), r"schedule\.total_steps=10"),
        (lambda: sx.Schedule(final_share=2), r"schedule\.final_share=2"),
    ],
)
def test_wrong_configuration_objects(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(sx.ArgumentError, match=message):
        make()


def test_configuration_objects_are_frozen_values() -> None:
    assert sx.SGD(0.1) == sx.SGD(lr=0.1)
    assert hash(sx.Adam()) == hash(sx.Adam())
    with pytest.raises(AttributeError):
        sx.SGD().lr = 1.0  # type: ignore[misc]


def test_all_dense_needs_one_argument_only() -> None:
    c = sx.Classifier(FEATURES, LABELS, fan_in=None, device="cpu")
    assert c.config["rewiring"] is None
    assert [name for name in c.state_dict() if name.endswith("indices")] == []


def test_dense_labels_as_share_and_as_count() -> None:
    shapes = [classifier(dense_labels=d).state_dict()["segments.0.weights"].shape for d in (0.2, 8, np.int64(8))]
    assert shapes == [(8, FEATURES)] * 3


def test_numpy_scalars_are_numbers() -> None:
    c = classifier(fan_in=np.int32(4), optimizer=sx.SGD(np.float32(0.5)), hidden=np.int64(8))
    assert c.lr == 0.5
    assert c.config["hidden"]["features"] == 8


def test_missing_gpu_says_why() -> None:
    if not sx._core.cuda_unavailable_reason():
        pytest.skip("this machine has a usable GPU")
    with pytest.raises(sx.DeviceError, match=r"(?i)cuda"):
        classifier(device="cuda")
    assert classifier(device="auto").device == "cpu"


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (sx.ArgumentError, ValueError),
        (sx.DTypeError, TypeError),
        (sx.MemoryPlanError, MemoryError),
        (sx.DeviceError, RuntimeError),
        (sx.DataError, ValueError),
        (sx.CheckpointError, RuntimeError),
    ],
)
def test_errors_are_ours_and_builtin(error: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(error, sx.Error)
    assert issubclass(error, builtin)
    assert getattr(sx.errors, error.__name__) is error


# ---- steps ----


def test_wrong_batches() -> None:
    c = classifier()
    before = c.state_dict()
    with pytest.raises(sx.ArgumentError, match="empty batch"):
        c.train_step(X[:0], np.zeros(0, int))
    with pytest.raises(sx.ArgumentError, match="6 rows, but batch_size is 5"):
        c.train_step(np.zeros((6, FEATURES), np.float32), np.zeros(6, int))
    with pytest.raises(sx.DTypeError, match=r"scipy sparse matrix.*sparse_input=True.*\.toarray\(\)"):
        c.train_step(sp.csr_matrix(X), Y)
    with pytest.raises(sx.ArgumentError, match="on_nonfinite='ignore' is not known; use one of 'raise', 'skip'"):
        c.train_step(X, Y, on_nonfinite="ignore")
    assert_unchanged(c, before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nonfinite_embeddings(value: float) -> None:
    wrong = X.copy()
    wrong[2, 3] = value
    c = classifier()
    before = c.state_dict()
    with pytest.raises(sx.ArgumentError, match=r"embeddings.*on_nonfinite=.skip"):
        _ = c.train_step(wrong, Y).loss  # a GPU finds out when it is asked
    assert (c.step, c.skipped) == (0, 0)
    result = c.train_step(wrong, Y, on_nonfinite="skip")
    assert result.skipped
    assert (c.step, c.skipped) == (0, 1)
    with pytest.raises(sx.ArgumentError, match="NaN or Inf"):
        c.topk(wrong)
    assert_unchanged(c, before)


def test_wrong_sparse_features() -> None:
    c = classifier(hidden=8, sparse_input=True)
    features = sp.csr_matrix(X)
    before = c.state_dict()
    for wrong, error, message in (
        (X, sx.DTypeError, r"ndarray.*scipy\.sparse\.csr_matrix\(embeddings\)"),
        (features.tocsc(), sx.DTypeError, r"embeddings\.tocsr\(\)"),
        (features.astype(np.float64), sx.DTypeError, r"float64.*astype\(np\.float32\)"),
        (features[:, :8], sx.ArgumentError, "in_features=16"),
    ):
        with pytest.raises(error, match=message):
            c.train_step(wrong, Y)
        with pytest.raises(error, match=message):
            c.topk(wrong)
    broken = features.copy()
    broken.indices = broken.indices + 1
    with pytest.raises(sx.ArgumentError, match="16"):
        c.train_step(broken, Y)
    assert_unchanged(c, before)
    assert c.train_step(features, Y).grad is None


# ---- prediction, state, the rest ----


@pytest.mark.parametrize("k", [0, -1, 41, 2.0, True])
def test_wrong_k(k: Any) -> None:
    with pytest.raises(sx.ArgumentError, match=f"k={k}"):
        classifier().topk(X, k)


def test_topk_of_no_rows_and_of_many() -> None:
    c = classifier()
    scores, ids = c.topk(X[:0], 3)
    assert scores.shape == ids.shape == (0, 3)
    many = np.tile(X, (7, 1))
    scores, ids = c.topk(many, LABELS)
    assert (scores.dtype, ids.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(ids, np.tile(c.topk(X, LABELS)[1], (7, 1)))
    np.testing.assert_array_equal(np.sort(ids, axis=1), np.tile(np.arange(LABELS), (len(many), 1)))


def test_learning_rate() -> None:
    c = classifier(optimizer=sx.SGD(0.25))
    assert c.lr == 0.25
    c.lr = 0
    before = c.state_dict()
    c.train_step(X, Y)
    before["step"] = np.asarray(1)
    assert_unchanged(c, before)
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(sx.ArgumentError, match="lr"):
            c.lr = wrong
    assert c.lr == 0


def test_plan_is_that_of_the_classifier() -> None:
    options = {"fan_in": 4, "group_size": 4, "dense_labels": 8, "batch_size": ROWS, "device": "cpu", "num_threads": 2}
    plan = sx.plan(FEATURES, LABELS, **options)
    memory = sx.Classifier(FEATURES, LABELS, **options).memory
    assert dict(plan) == dict(memory.plan)
    assert plan.total == memory.planned == sum(plan.values())
    assert plan.total == memory.current == memory.peak
    assert "segments.0.weights" in plan.table()
    assert "planned" in repr(memory)
    with pytest.raises(TypeError, match="colour"):
        sx.plan(FEATURES, LABELS, colour="red")


def test_repr_is_informative() -> None:
    text = repr(classifier(hidden=8, optimizer=sx.Adam(2e-3)))
    for part in (
        "16 -> 40 labels",
        "hidden=8",
        "fan_in=4",
        "group_size=4",
        "dense_labels=8",
        "lr=0.002",
        "step=0",
        "cuda:0" if DEVICE == "cuda" else DEVICE,
    ):
        assert part in text
    assert re.search(r"\d KiB", text)


def test_rewirings_are_recorded() -> None:
    c = classifier(rewiring=sx.Rewiring(interval=2, fraction=0.3))
    assert [c.train_step(X, Y).rewired for _ in range(4)] == [False, True, False, True]
    assert [(r.step, r.segment) for r in c.rewirings] == [(2, 1), (4, 1)]
    assert all(r.changed > 0 and r.score_dropped > 0 for r in c.rewirings)
    assert re.fullmatch(r"RewiringRecord\(step=2, segment=1, changed=\d+, .*\)", repr(c.rewirings[0]))


def test_label_names(tmp_path: Any) -> None:
    names = [f"label {i} ü" for i in range(LABELS)]
    c = classifier()
    assert c.label_names is None
    c.label_names = names
    c.save(tmp_path / "model")
    assert sx.load(tmp_path / "model").label_names == names
    for wrong in (names[:-1], [*names[:-1], "two\nlines"], [*names[:-1], 5]):
        with pytest.raises(sx.ArgumentError, match="label_names"):
            c.label_names = wrong  # type: ignore[assignment]
        with pytest.raises(sx.ArgumentError, match="label_names"):
            c.save(tmp_path / "model", label_names=wrong)  # type: ignore[arg-type]


def test_unwritable_and_missing_checkpoints(tmp_path: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(sx.CheckpointError, match="file"):
        classifier().save(tmp_path / "file" / "model")
    with pytest.raises(sx.CheckpointError, match="nothing"):
        sx.load(tmp_path / "nothing")


def test_threads_may_share_a_classifier() -> None:
    """Calls are served one after another: the sum of the steps is right and nothing crashes."""
    c = classifier()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(50):
                c.train_step(X, Y)
                c.topk(X, 3)
                assert c.memory.current == c.memory.planned
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert c.step == 200
