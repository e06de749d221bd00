"""PackedOutputLayer: its state as one tensor, by itself and through save_pretrained and from_pretrained."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch

import sparsexmc as sx
from sparsexmc.torch import OutputLayer, PackedOutputLayer
from sparsexmc.torch._packing import pack, unpack
from torch_tools import FEATURES, LABELS, ROWS, X, Y, encoder, output_layer, state, torch

OPTIONS: dict[str, Any] = {"fan_in": 4, "group_size": 4, "dense_labels": 8, "rewiring": None, "batch_size": ROWS}


def packed_layer(kind: type[OutputLayer] = PackedOutputLayer, **options: Any) -> OutputLayer:
    return kind(FEATURES, LABELS, **(OPTIONS | {"optimizer": sx.Adam(lr=0.01), "seed": 3} | options))


def train(layer: torch.nn.Module) -> float:
    return [layer(X, Y).item() for _ in range(3)][-1]


# ---- by itself ----


def test_training_goes_on_to_the_bit(tmp_path: Path) -> None:
    layer, other = packed_layer(), packed_layer(seed=9)
    train(layer)
    assert list(layer.state_dict()) == ["anchor", "_extra_state"]
    safetensors.torch.save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "layer.safetensors"))
    assert state(other) == state(layer) and other.classifier.step == 3
    assert train(other) == train(layer)


def test_either_kind_loads_the_other() -> None:
    plain, packed, again = output_layer(), packed_layer(seed=9), output_layer(seed=8)
    train(plain)
    packed.load_state_dict(plain.state_dict())
    again.load_state_dict(packed.state_dict())
    assert state(again) == state(plain)


@pytest.mark.parametrize(
    "damage",
    [lambda t: t[:-9], lambda t: t[:0], lambda t: t.float(), lambda t: torch.where(t == t.max(), 0, t), lambda t: 3],
)
def test_damaged_states_are_refused(damage: Callable[[torch.Tensor], Any]) -> None:
    layer = packed_layer()
    before = layer.state_dict()
    with pytest.raises(sx.ArgumentError, match="_extra_state"):
        layer.load_state_dict({"_extra_state": damage(before["_extra_state"])})
    with pytest.raises(sx.ArgumentError, match="fan_in 5 instead of 4"):
        layer.load_state_dict(packed_layer(fan_in=5).state_dict())
    assert torch.equal(layer.state_dict()["_extra_state"], before["_extra_state"])


def test_no_damage_goes_unnoticed() -> None:
    tensors = {"weights": torch.arange(12.0).view(3, 4), "step": torch.tensor(3)}
    packed = pack(tensors)
    for place, bit in itertools.product(range(len(packed)), (1, 8)):
        changed = packed.clone()
        changed[place] ^= bit
        try:
            seen = unpack(changed)
        except sx.ArgumentError:
            continue
        if seen.keys() == tensors.keys():  # other names are another layer's
            assert all(torch.equal(seen[name], tensors[name]) for name in tensors)


def test_missing_states_are_reported() -> None:
    model = torch.nn.ModuleDict({"output": packed_layer()})
    assert model.load_state_dict({}, strict=False).missing_keys == ["output._extra_state"]
    with pytest.raises(RuntimeError, match=r"Missing key.*output\._extra_state"):
        model.load_state_dict({})


def test_where_initialisation_is_put_off() -> None:
    with torch.device("meta"):
        layer = packed_layer()
        with pytest.raises(sx.DeviceError, match="PackedOutputLayer"):
            packed_layer(OutputLayer, device="cpu")
    assert layer.classifier.device == "cpu"
    assert train(layer) == train(output_layer())


# ---- in a PreTrainedModel ----


def pretrained(kind: type[OutputLayer] = PackedOutputLayer, **options: Any) -> Any:
    """The class of a model with an encoder and such a layer, and its configuration."""
    transformers = pytest.importorskip("transformers")

    class Model(transformers.PreTrainedModel):
        config_class = transformers.PretrainedConfig

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.encoder = encoder()
            self.output = packed_layer(kind, **options)
            self.post_init()

        def _init_weights(self, module: torch.nn.Module) -> None:
            pass

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return self.output(self.encoder(x), labels)

    return Model


def saved(folder: Path, kind: type[OutputLayer] = PackedOutputLayer) -> Any:
    cls = pretrained(kind)
    model = cls(cls.config_class())
    [model(X, Y) for _ in range(3)]
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_from_pretrained(tmp_path: Path, dtype: str) -> None:
    model = saved(tmp_path)
    other = pretrained(seed=9).from_pretrained(tmp_path, dtype=getattr(torch, dtype)).train()
    assert other.encoder[0].weight.dtype == getattr(torch, dtype)
    assert state(other.output) == state(model.output) and other.output.classifier.step == 3
    if dtype == "float32":
        assert other(X, Y).item() == model(X, Y).item()


def test_a_checkpoint_of_the_encoder_alone(tmp_path: Path) -> None:
    model = saved(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = safetensors.torch.load_file(file)
    safetensors.torch.save_file({k: v for k, v in tensors.items() if "encoder" in k}, file, metadata={"format": "pt"})
    other = pretrained().from_pretrained(tmp_path)
    assert torch.equal(other.encoder[0].weight, model.encoder[0].weight)
    assert state(other.output) == state(packed_layer()) and "_extra_state" not in vars(other.output)


def test_checkpoints_of_other_layers_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(sx.ArgumentError, match="fan_in 4 instead of 5"):
        pretrained(fan_in=5).from_pretrained(tmp_path)


def test_the_other_kind_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("transformers", minversion="5")  # before, it sets no default device and fails by itself
    saved(tmp_path, OutputLayer)
    with pytest.raises(sx.DeviceError, match="use PackedOutputLayer"):
        pretrained(OutputLayer).from_pretrained(tmp_path)
