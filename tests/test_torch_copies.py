"""Ways to a layer through its one parameter: freezing, averages of whole models, and other writers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import sparsexmc as sx  # noqa: E402
from sparsexmc.torch import OutputLayer  # noqa: E402
from torch_tools import X, Y, encoder, output_layer, state  # noqa: E402

swa = torch.optim.swa_utils


def model_of(layer: OutputLayer) -> torch.nn.ModuleDict:
    return torch.nn.ModuleDict({"encoder": encoder(), "output": layer})


def train(model: torch.nn.ModuleDict, after: Callable[[], object] = lambda: None, steps: int = 3) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model["output"](model["encoder"](X), Y).backward()
        optimizer.step()
        model["output"].fused_optimizer.step()
        with torch.no_grad():
            after()


# ---- averages ----


def by_state_dict(average: torch.nn.Module, model: torch.nn.Module) -> None:
    """As timm does."""
    for ours, theirs in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        ours.copy_(0.9 * ours + 0.1 * theirs)


def floats_by_state_dict(average: torch.nn.Module, model: torch.nn.Module) -> None:
    """As YOLO does."""
    values = model.state_dict()
    for name, ours in average.state_dict().items():
        if ours.dtype.is_floating_point:
            ours.mul_(0.9).add_(values[name], alpha=0.1)


def by_parameters(average: torch.nn.Module, model: torch.nn.Module) -> None:
    for ours, theirs in zip(average.parameters(), model.parameters(), strict=True):
        ours.lerp_(theirs, 0.1)


def averaged(**options: Any) -> Iterator[Callable[..., Any]]:
    yield lambda model: swa.AveragedModel(model, **options)
    yield lambda average, model: average.update_parameters(model)


EMA = swa.get_ema_multi_avg_fn(0.99)
AVERAGES = {
    "swa": averaged(),
    "ema": averaged(multi_avg_fn=EMA),
    "ema with buffers": averaged(multi_avg_fn=EMA, use_buffers=True),
    "state_dict": iter([copy.deepcopy, by_state_dict]),
    "floats of state_dict": iter([copy.deepcopy, floats_by_state_dict]),
    "parameters": iter([copy.deepcopy, by_parameters]),
}


@pytest.mark.parametrize("name", AVERAGES)
def test_averages_are_refused(name: str) -> None:
    make, update = AVERAGES[name]
    model = model_of(output_layer())
    average = make(model)
    assert average.state_dict().keys()
    with pytest.raises(sx.ArgumentError, match="Average the encoder alone"):  # while it is updated, or used
        train(model, lambda: update(average, model))
        layer = getattr(average, "module", average)["output"].eval()
        layer.topk(X, 1)
    model["output"].eval().topk(X, 1)


def test_the_copy_of_a_refused_copy_and_its_state_are_refused() -> None:
    model = model_of(output_layer())
    average = swa.AveragedModel(model)
    train(model)
    average.update_parameters(model)
    layer = average.module["output"].eval()
    for use in (layer.state_dict, lambda: copy.deepcopy(layer), lambda: layer(X, Y)):
        with pytest.raises(sx.ArgumentError, match="taken 0 steps.* set to [23]"):
            use()
    layer.load_state_dict(model["output"].state_dict())  # a copy of everything
    assert state(layer) == state(model["output"])
    layer.topk(X, 1)


def test_copies_of_a_trained_layer_are_whole() -> None:
    """To keep the best model, and to resume in any type of number."""
    model = model_of(output_layer())
    train(model)
    best = copy.deepcopy(model)
    expected = state(model["output"])
    train(model)
    assert state(best["output"]) == expected
    best.half()["output"].eval().topk(X, 1)
    other = model_of(output_layer(seed=9))
    other.load_state_dict(model.state_dict())
    other["output"].eval().topk(X, 1)
    train(other)
    other["output"].eval().topk(X, 1)


# ---- freezing ----


def freeze_parameter(model: torch.nn.ModuleDict) -> None:
    for parameter in model["output"].parameters():
        parameter.requires_grad = False


@pytest.mark.parametrize(
    "freeze",
    [
        lambda model: model.requires_grad_(False),
        lambda model: model["output"].requires_grad_(False),
        lambda model: model["output"].anchor.requires_grad_(False),
        freeze_parameter,
    ],
)
@pytest.mark.parametrize("options", [{}, {"update": "backward"}, {"accumulate": "buffer"}])
def test_frozen_layers_take_no_step(freeze: Callable[[Any], object], options: dict[str, str]) -> None:
    model = model_of(output_layer(**options))
    train(model)
    layer, before = model["output"], state(model["output"])
    freeze(model)
    x = X.clone().requires_grad_()
    loss = layer(x, Y)
    loss.backward()
    layer.fused_optimizer.step()
    assert state(layer) == before
    assert x.grad is not None and x.grad.abs().sum() > 0
    assert not copy.deepcopy(layer).anchor.requires_grad
    model.requires_grad_(True)
    layer(x, Y).backward()
    layer.fused_optimizer.step()
    after = state(layer)
    assert after.pop("step") != before.pop("step") and after != before


def test_a_layer_made_in_inference_mode_trains() -> None:
    with torch.inference_mode():
        layer = output_layer()
        layer(X, Y)
    assert layer.classifier.step == 0
    layer(X, Y).backward()
    assert layer.classifier.step == 1


# ---- momentum ----


@pytest.mark.parametrize("optimizer", [sx.Adam(lr=0.01), sx.SGD(lr=0.01, momentum=0.9)], ids=["adam", "sgd"])
def test_schedulers_cycle_the_momentum(optimizer: Any) -> None:
    layer = output_layer(optimizer=optimizer)
    schedule = torch.optim.lr_scheduler.OneCycleLR(layer.fused_optimizer, max_lr=0.1, total_steps=8)
    seen = []
    for _ in range(5):
        layer(X, Y).backward()
        seen.append(layer.classifier.momentum)
        layer.fused_optimizer.step()
        schedule.step()
    assert seen[0] == 0.95 and min(seen) < 0.9


def test_a_constant_momentum_changes_no_bit_and_another_one_does() -> None:
    layers = [output_layer() for _ in range(3)]
    layers[1].fused_optimizer.param_groups[0]["betas"] = (0.9, 0.999)
    layers[2].fused_optimizer.param_groups[0]["betas"] = (0.5, 0.999)
    for layer in layers:
        for _ in range(2):
            layer(X, Y)
    assert state(layers[0]) == state(layers[1]) != state(layers[2])


def test_momentum_that_a_layer_cannot_have() -> None:
    layer = output_layer(optimizer=sx.SGD(lr=0.01))
    torch.optim.lr_scheduler.CyclicLR(layer.fused_optimizer, 0.01, 0.1)
    with pytest.warns(UserWarning, match=r"SGD\(momentum=0.9\)"):
        layer(X, Y)
    assert layer.classifier.momentum == 0
    with pytest.raises(sx.ArgumentError, match="momentum"):
        layer.classifier.momentum = 0.5
    layer = output_layer()
    layer.fused_optimizer.param_groups[0]["betas"] = (0.9, 0.99)
    with pytest.raises(sx.ArgumentError, match="beta2=0.999"):
        layer(X, Y)
    with pytest.raises(sx.ArgumentError, match=r"\[0, 1\)"):
        layer.classifier.momentum = 1.0


# ---- graphs ----


class Predict(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = output_layer().eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer.topk(x, 3)[1]


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("torch.jit.trace", lambda model: torch.jit.trace(model, X)),
        ("torch.jit.script", torch.jit.script),
        ("torch.export", lambda model: torch.export.export(model, (X,))),
        ("torch.fx", torch.fx.symbolic_trace),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_recording_says_what_to_do(name: str, record: Callable[[torch.nn.Module], object]) -> None:
    with pytest.raises(sx.ArgumentError, match=f"recorded by {name}: .*encoder alone"):
        record(Predict())
