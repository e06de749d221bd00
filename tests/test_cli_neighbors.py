"""What the command line adds to a network: neighbors that vote, and the order of the labels."""

from pathlib import Path

import pytest

import sparsexmc as sx
from cli_tools import SMALL, failure, make_split, run


def test_neighbors_come_with_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They vote in evaluate and predict, are tuned where instances are held out, and go with the next training."""
    data, model = tmp_path / "data", tmp_path / "model"
    (X, Y), (X_test, Y_test) = make_split(400, 1), make_split(80, 2)
    sx.data.save(data, sx.data.Dataset(X=X, Y=Y, X_test=X_test, Y_test=Y_test))
    tune = ["--set", "training.validation=0.3", "--set", "neighbors.weight=tune"]
    assert run("train", data, "-o", model, *SMALL, *tune) == 0
    assert "neighbors: power" in capsys.readouterr().out
    weight = ["--set", "neighbors.weight=0.7", "--set", "neighbors.count=9"]
    assert run("train", data, "-o", model, *SMALL, *weight) == 0
    assert "network alone" in capsys.readouterr().out
    assert (model / "neighbors.npz").exists()
    predictions = []
    for options in ([], ["--no-neighbors"]):
        assert run("predict", model, data, "--ids", *options) == 0
        predictions.append(capsys.readouterr().out)
    assert predictions[0] != predictions[1]
    (model / "neighbors.npz").write_bytes(b"damaged")
    assert "neighbors.npz" in failure(capsys, "predict", model, data)
    assert run("predict", model, data, "--no-neighbors") == 0
    assert run("train", data, "-o", model, *SMALL, "--set", "neighbors.enabled=false") == 0
    assert not (model / "neighbors.npz").exists()
    assert "neighbors.weight=-1" in failure(capsys, "train", data, "-o", model, "--set", "neighbors.weight=-1")
    assert "neighbors.count" in failure(capsys, "train", data, "-o", model, "--set", "neighbors.cuont=3")


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
