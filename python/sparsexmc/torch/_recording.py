"""Recording a model as a graph: what PyTorch can record of a layer, which is nothing, and what to do instead."""

from __future__ import annotations

from typing import Any, NoReturn

import torch

from ..errors import ArgumentError

_REMEDY = (
    "its C++ engine is no operation of PyTorch. Trace or export the encoder alone, save the layer with "
    "layer.classifier.save(path), and predict with sparsexmc.load(path).topk(embeddings, k)"
)
UNCOMPILED = f"sparsexmc.torch.OutputLayer runs outside of compiled graphs: {_REMEDY}"
"""Why a graph breaks, for `torch.compile(fullgraph=True)` and a strict `torch.export`, which want it whole."""


def refuse_recording(embeddings: Any) -> None:
    """Raises ArgumentError where `torch.jit.trace`, `torch.export` or `torch.fx` records: the graph would hold the
    numbers of the example, or stop at the layer.
    """
    if torch.jit.is_tracing():
        raise _refusal("torch.jit.trace")
    if torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling():
        raise _refusal("torch.export")
    if isinstance(embeddings, torch.fx.Proxy):
        raise _refusal("torch.fx")


def refuse_scripting() -> NoReturn:
    """Raises ArgumentError for `torch.jit.script`."""
    raise _refusal("torch.jit.script")


def _refusal(how: str) -> ArgumentError:
    return ArgumentError(f"sparsexmc.torch.OutputLayer cannot be recorded by {how}: {_REMEDY}")
