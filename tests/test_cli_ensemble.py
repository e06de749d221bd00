"""What the command line adds to a network: linear classifiers and neighbors, and the order of the labels."""

from pathlib import Path

import pytest

import sparsexmc as sx
from cli_tools import SMALL, failure, make_split, run


def test_parts_come_with_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They take part in evaluate and predict, are tuned where instances are held out, and go with the next training."""
    data, model = tmp_path / "data", tmp_path / "model"
    (X, Y), (X_test, Y_test) = make_split(400, 1), make_split(80, 2)
    sx.data.save(data, sx.data.Dataset(X=X, Y=Y, X_test=X_test, Y_test=Y_test))
    assert run("train", data, "-o", model, *SMALL, "--set", "training.validation=0.3") == 0
    printed = capsys.readouterr().out
    assert "best on 120 instances held out: linear weight" in printed and "neighbors weight" in printed
    weight = ["--set", "neighbors.weight=0.7", "--set", "neighbors.count=9", "--set", "linear.weight=0.9"]
    assert run("train", data, "-o", model, *SMALL, *weight) == 0
    assert "network alone" in capsys.readouterr().out
    assert sx.Linear.load(model / "linear.npz").weight == 0.9
    assert sx.Neighbors.load(model / "neighbors.npz").votes == sx.Votes(9, 2.0, 0.7)
    predictions = []
    for options in ([], ["--network-alone"]):
        assert run("predict", model, data, "--ids", *options) == 0
        predictions.append(capsys.readouterr().out)
    assert predictions[0] != predictions[1]
    for part in ("linear.npz", "neighbors.npz"):
        content = (model / part).read_bytes()
        (model / part).write_bytes(b"damaged")
        assert part in failure(capsys, "predict", model, data)
        (model / part).write_bytes(content)
    assert run("predict", model, data, "--network-alone") == 0
    assert run("train", data, "-o", model, *SMALL, "--set", "neighbors.enabled=false") == 0
    assert not (model / "neighbors.npz").exists() and (model / "linear.npz").exists()


def test_bad_parts_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X, Y = make_split(400, 1)
    sx.data.save(tmp_path / "data", sx.data.Dataset(X=X, Y=Y))
    for setting, said in (
        ("neighbors.weight=-1", "neighbors.weight=-1"),
        ("neighbors.cuont=3", "neighbors.count"),
        ("neighbors.enabled=3", "neighbors.enabled"),
        ("linear.cost=0", "linear.cost=0"),
        ("linear.cots=1", "linear.cost"),
        ("linear.weight=much", "linear.weight"),
        ("linear.negatives=0", "negatives=0"),
    ):
        assert said in failure(capsys, "train", tmp_path / "data", "-o", tmp_path / "model", *SMALL, "--set", setting)


@pytest.mark.parametrize("order", ["semantic", "random"])
def test_order_of_labels(order: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Groups of labels that are alike, or random ones, from the command line."""
    X, Y = make_split(400, 1)
    sx.data.save(tmp_path / "data", sx.data.Dataset(X=X, Y=Y))
    sparse = ["--set", "model.fan_in=16", "--set", "model.group_size=4", "--set", "model.dense_labels=4"]
    options = [*SMALL, *sparse, "--set", f"model.label_order={order}"]
    assert run("train", tmp_path / "data", "-o", tmp_path / "model", *options) == 0
    weighed = sx.data.TfIdf.fit(X).apply(X)
    expected = sx.cluster_labels(weighed, Y, 4, method=order, dense_labels=4)
    assert (sx.load(tmp_path / "model").state_dict()["label_order"] == expected).all()
    assert "label_order" in failure(
        capsys, "train", tmp_path / "data", "-o", tmp_path / "m", "--set", "model.label_order=x"
    )
