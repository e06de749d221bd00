"""Saving, loading, moving and copying a model with an OutputLayer."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

import sparsexmc as sx
from sparsexmc.torch import OutputLayer
from torch_tools import FEATURES, X, Y, encoder, output_layer, state, torch


def model_of(layer: OutputLayer) -> Any:
    return torch.nn.ModuleDict({"encoder": encoder(), "output": layer})


def train(layer: OutputLayer, steps: int = 3) -> float:
    return [layer(X, Y).item() for _ in range(steps)][-1]


# ---- state_dict ----


@pytest.mark.parametrize("options", [{}, {"hidden": 12}, {"fan_in": None}, {"optimizer": sx.SGD(0.1, momentum=0.9)}])
def test_training_goes_on_to_the_bit(tmp_path: Path, options: dict[str, Any]) -> None:
    """By way of safetensors; optimizer state and step included."""
    model, other = model_of(output_layer(**options)), model_of(output_layer(seed=9, **options))
    train(model["output"])
    safetensors.torch.save_file(model.state_dict(), str(tmp_path / "model.safetensors"))
    other.load_state_dict(safetensors.torch.load_file(str(tmp_path / "model.safetensors")))
    assert other["output"].classifier.step == 3
    assert train(model["output"]) == train(other["output"])
    assert state(model["output"]) == state(other["output"])


def test_averages_of_the_weights() -> None:
    """Used in place of the weights, they are in the state, as the trained weights are; copies go on with both."""
    layer, other = output_layer(average="ema"), output_layer(seed=9, average="ema")
    train(layer)
    layer.eval()
    with torch.no_grad(), layer.classifier.use_average():
        averaged = layer(X, Y).item()
        other.load_state_dict(layer.state_dict())
        copied = copy.deepcopy(layer)
    with torch.no_grad():
        assert other.eval()(X, Y).item() == copied(X, Y).item() == averaged != layer(X, Y).item()
    expected = train(layer.train())
    assert train(other.train()) == train(copied.train()) == expected
    assert state(other) == state(copied) == state(layer)


def test_names_and_types() -> None:
    layer = output_layer()
    tensors = layer.state_dict(prefix="head.")
    assert set(tensors) == {f"head.{name}" for name in ("anchor", *layer.classifier.state_dict())}
    assert tensors["head.segments.1.indices"].dtype == torch.int32
    assert tensors["head.optimizer.segments.0.weights.exp_avg"].shape == (8, FEATURES)
    assert not any(tensor.requires_grad for tensor in tensors.values())


def test_torch_save() -> None:
    layer, file = output_layer(), io.BytesIO()
    train(layer)
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = output_layer(seed=9)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert state(other) == state(layer)


def test_checkpoints_of_the_engine(tmp_path: Path) -> None:
    layer = output_layer()
    train(layer)
    layer.classifier.save(tmp_path / "model")
    other = output_layer(seed=9)
    other.load_state_dict(layer.state_dict())
    assert sx.load(tmp_path / "model").step == other.classifier.step == 3


OTHER: dict[str, tuple[dict[str, Any], str]] = {
    "L": ({"num_labels": 44}, "num_labels 44 instead of 40"),
    "F": ({"fan_in": 5}, "fan_in 5 instead of 4"),
    "G": ({"group_size": 8}, "groups of labels that share their features 4 instead of 8"),
    "dense labels": ({"dense_labels": 4}, "labels that read all features 4 instead of 8"),
    "all dense": ({"fan_in": None}, "fan_in none instead of 4"),
    "H": ({"in_features": 20}, "width of these 20 instead of 16"),
    "hidden": ({"hidden": 12}, "hidden 12 instead of none"),
    "optimizer": ({"optimizer": sx.SGD(0.1)}, "optimizer state none instead of exp_avg, exp_avg_sq"),
}


@pytest.mark.parametrize("what", OTHER)
def test_another_layer_is_refused(what: str) -> None:
    options, message = OTHER[what]
    settings = {"fan_in": 4, "group_size": 4, "dense_labels": 8, "rewiring": None, "device": "cpu"}
    settings |= {"in_features": FEATURES, "num_labels": 40, "optimizer": sx.Adam(lr=0.01)}
    other, layer = OutputLayer(**(settings | options)), output_layer()
    train(layer, 1)
    before = state(layer)
    with pytest.raises(sx.ArgumentError, match=message):
        layer.load_state_dict(other.state_dict())
    assert state(layer) == before


def test_broken_states_are_refused() -> None:
    layer = output_layer()
    before = state(layer)
    for name, wrong, error in (
        ("segments.1.indices", torch.full((8, 4), -1, dtype=torch.int32), "outside of 0..65535"),
        ("segments.1.indices", torch.zeros(8, 4, dtype=torch.int32), "rise strictly"),
        ("segments.0.bias", torch.zeros(8, dtype=torch.float64), "float64"),
        ("segments.0.weights", torch.tensor(1.0), "another layer"),
        ("step", torch.tensor(-1), "step"),
        ("step", 3, "must be a tensor"),
        ("more", torch.zeros(1), "unknown"),
        ("segments.0.bias", None, "missing"),
    ):
        tensors = layer.state_dict()
        tensors[name] = wrong
        if wrong is None:
            del tensors[name]
        with pytest.raises(sx.Error, match=error):
            layer.load_state_dict(tensors)
        assert state(layer) == before


def test_state_of_the_encoder_alone() -> None:
    model = model_of(output_layer())
    alone = {name: value for name, value in model.state_dict().items() if name.startswith("encoder")}
    before = state(model["output"])
    assert model.load_state_dict(alone, strict=False).missing_keys == ["output.step"]
    assert state(model["output"]) == before
    with pytest.raises(RuntimeError, match=r"Missing key.*output\.step"):
        model.load_state_dict(alone)


# ---- moves, types, copies ----


@pytest.mark.parametrize("change", ["half", "bfloat16", "double", "float", "cpu", "share_memory"])
def test_types_and_moves_that_leave_the_layer_alone(change: str) -> None:
    model = model_of(output_layer())
    train(model["output"])
    before, classifier = state(model["output"]), model["output"].classifier
    getattr(model, change)()
    model.to(torch.device("cpu"), torch.float32)
    assert state(model["output"]) == before and model["output"].classifier is classifier


def test_a_half_model_trains() -> None:
    model = model_of(output_layer()).to(torch.bfloat16)
    loss = model["output"](model["encoder"](X.bfloat16()), Y)
    loss.backward()
    assert all(p.grad is not None and p.grad.dtype == torch.bfloat16 for p in model.parameters())


@pytest.mark.skipif(torch.cuda.is_available(), reason="for a PyTorch that sees no GPU")
@pytest.mark.parametrize("device", ["cuda", "meta"])
def test_moves_that_cannot_be(device: str) -> None:
    layer = output_layer()
    before = state(layer)
    with pytest.raises(sx.DeviceError, match="layer cannot"):
        layer.to(device)
    assert state(layer) == before
    with pytest.raises(sx.Error):
        output_layer(device=device)


def test_default_device() -> None:
    with torch.device("cpu"):
        assert output_layer(device=None).classifier.device == "cpu"
    with pytest.raises(sx.DeviceError, match='not on meta.*device="cpu"'):
        output_layer(device=torch.device("meta"))


def test_deep_copies_train_alone() -> None:
    layer = output_layer()
    train(layer)
    layer.eval()
    layer.register_forward_hook(print)
    other = copy.deepcopy(torch.nn.Sequential(layer))[0]
    assert not other.training and len(other._forward_hooks) == 1 and other.on_nonfinite == "skip"
    other._forward_hooks.clear()
    other.train()
    assert state(other) == state(layer) and other.fused_optimizer is not layer.fused_optimizer
    other.fused_optimizer.param_groups[0]["lr"] = 0.5
    before = state(layer)
    train(other, 1)
    assert state(layer) == before and layer.fused_optimizer.lr == 0.01 and other.classifier.lr == 0.5


def test_pickling_is_refused() -> None:
    with pytest.raises(sx.DTypeError, match=r"state_dict\(\)"):
        torch.save(output_layer(), io.BytesIO())


def test_weight_decay_groups_pass_it_by() -> None:
    model = model_of(output_layer())
    train(model["output"])
    before = state(model["output"])
    decayed = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.5}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    model["encoder"](X).sum().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    assert state(model["output"]) == before
    assert len(decayed) + len(rest) == len(list(encoder().parameters())) + 1  # the anchor


def test_loading_drops_micro_batches_that_wait() -> None:
    layer = output_layer(accumulate="buffer")
    layer(X, Y)
    layer.load_state_dict(layer.state_dict())
    layer.fused_optimizer.step()
    assert layer.classifier.step == 0
