"""The parts that the command line adds to a network: linear classifiers and neighbors, and the order of the labels."""

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
    assert run("train", data, "-o", model, "--force", *SMALL, *weight) == 0
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
        assert part in failure(capsys, "predict", model, data, "--network-alone")
        (model / part).write_bytes(content)
    assert run("train", data, "-o", model, "--force", *SMALL, "--set", "neighbors.enabled=false") == 0
    assert not (model / "neighbors.npz").exists() and (model / "linear.npz").exists()


@pytest.mark.parametrize("validation", ["none", "0.3"])
def test_neighbors_by_the_hidden_layer(validation: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for, with and without instances to tune on; they are saved with the model and vote when it predicts."""
    data, model = tmp_path / "data", tmp_path / "model"
    (X, Y), (X_test, Y_test) = make_split(400, 1), make_split(80, 2)
    sx.data.save(data, sx.data.Dataset(X=X, Y=Y, X_test=X_test, Y_test=Y_test))
    options = [*SMALL, "--set", f"training.validation={validation}", "--set", "neighbors.weight=3"]
    assert run("train", data, "-o", model, *options, "--set", "neighbors.space=hidden") == 0
    printed = capsys.readouterr().out
    assert ("neighbors by the hidden layer weight 3" in printed) == (validation != "none")
    neighbors, classifier = sx.Neighbors.load(model / "neighbors.npz"), sx.Classifier.load(model)
    assert neighbors.votes.space == "hidden" and neighbors.votes.power in (6.0, 9.0)
    assert neighbors.in_features == classifier.config["hidden"]["features"]
    predictions = []
    for option in ([], ["--network-alone"]):
        assert run("predict", model, data, "--ids", *option) == 0
        predictions.append(capsys.readouterr().out)
    assert predictions[0] != predictions[1]


def test_the_space_of_neighbors_is_tuned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hidden layer is chosen where it ranks better by a margin."""
    from sparsexmc.ensemble import training as module

    data, model = tmp_path / "data", tmp_path / "model"
    X, Y = make_split(400, 1)
    sx.data.save(data, sx.data.Dataset(X=X, Y=Y))
    settings = ["training.validation=0.3", "neighbors.power=3", "linear.enabled=false"]
    options = [*SMALL, *(part for setting in settings for part in ("--set", setting))]
    spaces = []
    for least_gain in (-1.0, 1.0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "LEAST_GAIN", least_gain)
            assert run("train", data, "-o", model, "--force", *options, "--set", "neighbors.weight=2") == 0
        votes = sx.Neighbors.load(model / "neighbors.npz").votes
        assert votes.power == 3.0
        spaces.append(votes.space)
        assert ("by the hidden layer" in capsys.readouterr().out) == (votes.space == "hidden")
    assert spaces == ["hidden", "features"]


def test_bad_parts_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X, Y = make_split(400, 1)
    sx.data.save(tmp_path / "data", sx.data.Dataset(X=X, Y=Y))
    for setting, said in (
        ("neighbors.weight=-1", "neighbors.weight=-1"),
        ("neighbors.cuont=3", "neighbors.count"),
        ("neighbors.power=-1", "neighbors.power=-1"),
        ("neighbors.space=output", "'hidden', 'tune'"),
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
    assert (sx.Classifier.load(tmp_path / "model").state_dict()["label_order"] == expected).all()
    assert "label_order" in failure(
        capsys, "train", tmp_path / "data", "-o", tmp_path / "m", "--set", "model.label_order=x"
    )
