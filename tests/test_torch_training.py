"""OutputLayer among what PyTorch does in training: scaling, checkpointing, accumulation, compilation, schedulers."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable
from typing import Any

import pytest
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

import sparsexmc as sx
from sparsexmc.torch import OutputLayer
from torch_tools import FEATURES, LABELS, X, Y, encoder, output_layer, state, torch

# ---- more than one derivative ----


def test_second_derivatives_are_refused() -> None:
    x = X.clone().requires_grad_()
    (grad,) = torch.autograd.grad(output_layer()(x, Y), x, create_graph=True)
    for again in (lambda: grad.square().sum().backward(), lambda: torch.autograd.grad(grad.sum(), x)):
        with pytest.raises(sx.ArgumentError, match="no second derivative"):
            again()


# ---- data ----


def test_workers_of_a_data_loader() -> None:
    """Which process reads a batch changes no bit."""
    data = torch.utils.data.TensorDataset(X, Y)
    ends = []
    for workers in (0, 2):
        layer = output_layer(num_threads=2)
        order = torch.Generator().manual_seed(7)
        for x, y in torch.utils.data.DataLoader(data, 2, shuffle=True, generator=order, num_workers=workers):
            layer(x, y)
        ends.append(state(layer))
    assert ends[0] == ends[1] != state(output_layer(num_threads=2))


# ---- mixed precision ----


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_grad_scaler_scales_the_embedding_gradient_only(dtype: Any) -> None:
    layers, losses, encoders = [], [], []
    for scale in (1.0, 1024.0):
        layer, model = output_layer(), encoder()
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with torch.autocast("cpu", dtype):
            embeddings = model(X)
        assert embeddings.dtype == dtype
        loss = layer(embeddings, Y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.step(layer.fused_optimizer)
        scaler.update()
        layers.append(state(layer))
        losses.append(loss.item())
        encoders.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert layers[0] == layers[1] and losses[0] == losses[1]
    torch.testing.assert_close(*encoders, rtol=0, atol=1e-3)


def test_gradients_too_small_for_float16_are_scaled_before_they_are_rounded() -> None:
    ids = torch.zeros(2, 1, dtype=torch.long)
    layer = output_layer(initial_bias=-19.0)
    x = torch.zeros(2, FEATURES, dtype=torch.float16, requires_grad=True)
    positives = torch.full_like(ids, -1)
    (layer(x, positives) * 2.0**16).backward()
    assert x.grad is not None and x.grad.any()
    unscaled = x.grad.float() / 2.0**16
    assert not unscaled.to(torch.float16).any()


@pytest.mark.parametrize("options", [{}, {"update": "backward"}, {"accumulate": "buffer"}])
def test_nonfinite_batches_are_skipped_and_counted(options: dict[str, Any]) -> None:
    layer = output_layer(**options)
    x = X.clone()
    x[2, 3] = float("inf")
    x.requires_grad_()
    before = state(layer)
    loss = layer(x, Y)
    loss.backward()
    layer.fused_optimizer.step()
    assert loss.isnan() and x.grad is not None and not x.grad.any()
    assert state(layer) == before and layer.skipped == 1


def test_nonfinite_batches_may_raise() -> None:
    with pytest.raises(sx.ArgumentError, match="NaN or Inf"):
        output_layer(on_nonfinite="raise")(X * float("nan"), Y)


# ---- activation checkpointing ----


def train_once(layer: OutputLayer, call: Callable[..., Any]) -> tuple[float, list[Any]]:
    model, x = encoder(), X.clone().requires_grad_()
    loss = call(lambda x: layer(model(x), Y) * 2, x)
    loss.backward()
    return loss.item(), [x.grad, *(p.grad for p in model.parameters())]


@pytest.mark.parametrize("update", ["forward", "backward"])
@pytest.mark.parametrize("kind", ["reentrant", "early stop", "whole"])
def test_checkpointing(kind: str, update: str) -> None:
    def call(function: Callable[..., Any], x: Any) -> Any:
        with set_checkpoint_early_stop(kind == "early stop"):
            return checkpoint(function, x, use_reentrant=kind == "reentrant")

    layer, usual = output_layer(update=update), output_layer()
    expected = train_once(usual, lambda function, x: function(x))
    if kind == "whole" and update == "forward":
        with pytest.raises(sx.ArgumentError, match=r'activation checkpointing .* update="backward"'):
            train_once(layer, call)
    else:
        loss, gradients = train_once(layer, call)
        assert loss == expected[0]
        assert all(map(torch.equal, gradients, expected[1]))
    assert layer.classifier.step == 1 and state(layer) == state(usual)


def test_checkpointing_that_needs_what_comes_behind_the_layer() -> None:
    layer, model = output_layer(), encoder()
    x = X.clone().requires_grad_()
    loss = checkpoint(lambda x: layer(model(x), Y).square(), x, use_reentrant=False)
    with pytest.raises(sx.ArgumentError, match="activation checkpointing"):
        loss.backward()
    assert layer.classifier.step == 1


# ---- accumulation ----


def train_on(layer: OutputLayer, embeddings: list[torch.Tensor], model: torch.nn.Module) -> float:
    """A step on the rows of several batches as one, and the gradients of the encoder that made them; the loss.

    The layer reads what the encoder gave for each part: its own product over all rows at once need not have the same
    bits, since a matrix product may sum in another order for another number of rows.
    """
    whole = torch.cat([part.detach() for part in embeddings]).requires_grad_()
    loss = layer(whole, Y)
    loss.backward()
    model(X).backward(whole.grad)
    return loss.item()


def test_every_micro_batch_is_a_step(caplog: pytest.LogCaptureFixture) -> None:
    layer, usual = output_layer(), output_layer()
    with caplog.at_level(logging.INFO, "sparsexmc.torch"):
        for part in (slice(0, 2), slice(2, 4), slice(4, 6)):
            (layer(X[part], Y[part]) / 3).backward()
            usual(X[part], Y[part])
    assert layer.classifier.step == 3 and state(layer) == state(usual)
    told = [record for record in caplog.records if "every training forward" in record.message]
    assert len(told) == 2  # once a layer


@pytest.mark.parametrize("options", [{}, {"hidden": 12}, {"loss": "squared_hinge", "optimizer": sx.SGD(0.1, 0.9)}])
def test_buffered_micro_batches_are_one_large_batch(options: dict[str, Any]) -> None:
    layer, usual = output_layer(accumulate="buffer", **options), output_layer(**options)
    model, twin = encoder(), encoder()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        before, seen = state(layer), []
        for part in (slice(0, 2), slice(2, 4), slice(4, 6)):
            seen.append(model(X[part]))
            (layer(seen[-1], Y[part]) / 3).backward()
        assert state(layer) == before
        layer.fused_optimizer.step()
        train_on(usual, seen, twin)
        for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)
        assert state(layer) == state(usual)  # to the bit
    handle = layer.fused_optimizer.step_after(optimizer)
    layer(model(X), Y).backward()
    optimizer.step()
    handle.remove()
    assert layer.classifier.step == 4


def test_buffer_without_room() -> None:
    layer = output_layer(accumulate="buffer")
    layer(X, Y)
    with pytest.raises(sx.ArgumentError, match=r"fused_optimizer\.step\(\)"):
        layer(X[:1], Y[:1])
    layer.fused_optimizer.step()
    layer(X[:1], Y[:1])


def test_buffer_and_what_only_a_step_knows() -> None:
    with pytest.raises(sx.ArgumentError, match="dropout"):
        output_layer(accumulate="buffer", hidden=sx.Hidden(12, dropout=0.5))
    with pytest.raises(sx.ArgumentError, match="auxiliary"):
        output_layer(accumulate="buffer", auxiliary=sx.MetaClassifier(4, steps=10))


# ---- learning rates ----


def test_schedulers_drive_the_layer() -> None:
    layer = output_layer(optimizer=sx.SGD(lr=0.5))
    optimizer = layer.fused_optimizer
    assert isinstance(optimizer, torch.optim.Optimizer) and optimizer.param_groups[0]["lr"] == 0.5
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4),
        ],
        milestones=[2],
    )
    seen = []
    for _ in range(4):
        optimizer.zero_grad()
        layer(X, Y).backward()
        seen.append(layer.classifier.lr)
        optimizer.step()
        scheduler.step()
    assert seen == pytest.approx([0.05, 0.275, 0.5, 0.5 * (1 + 2**-0.5) / 2])
    optimizer.param_groups[0]["lr"] = 0.0
    before = state(layer)
    layer(X, Y)
    after = state(layer)
    assert after.pop("step") != before.pop("step") and after == before


def test_state_of_the_optimizer() -> None:
    layer, other = output_layer(), output_layer(optimizer=sx.Adam(lr=0.5))
    layer.fused_optimizer.param_groups[0]["lr"] = 0.25
    other.fused_optimizer.load_state_dict(layer.fused_optimizer.state_dict())
    other(X, Y)
    assert other.classifier.lr == 0.25
    assert other.fused_optimizer.step(lambda: torch.tensor(2.0)) == 2.0


# ---- the model around it ----


class Model(torch.nn.Module):
    def __init__(self, layer: OutputLayer) -> None:
        super().__init__()
        self.encoder, self.layer = encoder(), layer

    def forward(self, x: Any, labels: Any) -> Any:
        return self.layer(self.encoder(x), labels)


@pytest.mark.parametrize("whole", [False, True])
def test_compiled(whole: bool) -> None:
    """With the layer inside the compiled module, the graph breaks before it."""
    model, plain = Model(output_layer()), Model(output_layer())
    if whole:
        run = torch.compile(model, backend="eager")
    else:
        model.encoder = torch.compile(model.encoder, backend="eager")
        run = model
    for _ in range(2):
        loss, expected = run(X, Y), plain(X, Y)
        loss.backward()
        expected.backward()
        assert loss.item() == expected.item()
    assert state(model.layer) == state(plain.layer)
    assert model.layer.classifier.step == 2
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


def test_data_parallel_is_refused() -> None:
    with pytest.raises(sx.DeviceError, match="DataParallel"):
        output_layer()._replicate_for_data_parallel()


PARTS = (slice(0, 4), slice(4, 6))  # rows of the ranks


def _rank(rank: int, folder: str) -> None:
    os.environ |= {"SPARSEXMC_NUM_THREADS": "1"}
    store = torch.distributed.FileStore(folder + "/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    refusing, model = Model(output_layer()), Model(output_layer(ranks="gather"))
    before, embeddings = state(model.layer), []
    model.encoder.register_forward_hook(lambda _, __, made: embeddings.append(made.detach()))
    wrapped = torch.nn.parallel.DistributedDataParallel(model)  # broadcasts the encoder
    assert state(model.layer) == before
    with pytest.raises(sx.ArgumentError, match="process group of 2 ranks"):
        torch.nn.parallel.DistributedDataParallel(refusing)(X, Y)
    for _ in range(3):
        model.zero_grad()
        loss = wrapped(X[PARTS[rank]], Y[PARTS[rank]])
        loss.backward()
    if rank == 1:  # whose weights make those of the other rank 1
        weighted = model.layer(X[PARTS[rank]], Y[PARTS[rank]], torch.tensor([3.0, 0.0]))
    else:
        weighted = model.layer(X[PARTS[rank]], Y[PARTS[rank]])
    torch.save(weighted.item(), f"{folder}/weighted-{rank}.pt")
    torch.save((loss.item(), embeddings, [p.grad for p in model.parameters()]), f"{folder}/{rank}.pt")
    torch.save(model.layer.state_dict(), f"{folder}/state-{rank}.pt")
    if rank == 0:
        model.layer.load_state_dict(output_layer().state_dict())
    with pytest.raises(sx.ArgumentError, match=r"at steps \[0, 4\]"):
        wrapped(X[PARTS[rank]], Y[PARTS[rank]])
    for options, different in (
        ({"seed": rank}, "the seed and the weights"),
        ({"rewiring": None if rank else sx.Rewiring(interval=5)}, "the configuration"),
        ({"optimizer": sx.Adam(lr=0.01 + rank)}, "learning rates"),
    ):
        other = Model(output_layer(ranks="gather", **options)).layer
        with pytest.raises(sx.ArgumentError, match=different):
            other(X[PARTS[rank]], Y[PARTS[rank]])
    # The group joins its threads once nobody holds it. One that still lets go of a tensor while Python ends aborts.
    del wrapped, model, refusing
    gc.collect()
    torch.distributed.destroy_process_group()


@pytest.mark.slow  # two processes import PyTorch
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="PyTorch without gloo")
def test_two_ranks_train_as_one(tmp_path: Any) -> None:
    torch.multiprocessing.spawn(_rank, (str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    model = Model(output_layer())
    for embeddings in zip(*(made for _, made, _ in ranks), strict=True):
        model.zero_grad()
        loss = train_on(model.layer, list(embeddings), model.encoder)
    weighted = model.layer(X, Y, torch.tensor([1.0, 1.0, 1.0, 1.0, 3.0, 0.0])).item()
    assert [torch.load(tmp_path / f"weighted-{rank}.pt") for rank in range(2)] == [weighted] * 2
    for rank, (seen, _, gradients) in enumerate(ranks):
        reached = torch.load(tmp_path / f"state-{rank}.pt", weights_only=True)
        assert reached.pop("anchor") == 4
        assert {name: tensor.numpy().tobytes() for name, tensor in reached.items()} == state(model.layer)
        assert seen == loss
        for ours, p in zip(gradients, model.parameters(), strict=True):
            torch.testing.assert_close(ours, p.grad, rtol=1e-5, atol=1e-6)


def test_one_rank_trains(tmp_path: Any) -> None:
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = Model(output_layer())
        torch.nn.parallel.DistributedDataParallel(model)(X, Y).backward()
        assert model.layer.classifier.step == 1 and model.layer.classifier.num_labels == LABELS
    finally:
        torch.distributed.destroy_process_group()
