"""The output layer as a module of PyTorch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import torch

from .._checks import require_choice
from ..classifier import Classifier
from ..config import Hidden
from ..errors import ArgumentError, DeviceError, DTypeError
from ._buffer import Buffer
from ._checkpointing import OpenStep, Steps
from ._function import Loss
from ._labels import Targets, targets
from ._module import ClassifierModule
from ._ranks import fingerprint, gather, ranked_numbers, world_size
from ._recording import UNCOMPILED, refuse_recording
from ._step import Outcome, run
from .optimizer import FusedOptimizer

_log = logging.getLogger("sparsexmc.torch")


class OutputLayer(ClassifierModule):
    """`loss = layer(embeddings, labels); loss.backward()`: a sparse output layer with its loss and its own optimizer.

    In training the fused step runs once a batch: loss, gradients and the update of the layer's weights. The backward
    multiplies the gradient of the embeddings by what comes from above and sends it on. In `eval()` or under `no_grad()`
    nothing is updated, and `topk` predicts. The weights are no parameters and no buffers: optimizers, `half()`,
    gradient clipping and DistributedDataParallel pass them by, while `state_dict()` carries all of it.

    The only parameter is the number `anchor`. `requires_grad_(False)` on it, the layer or the whole model freezes the
    layer: it goes on to give losses and gradients of the embeddings, and takes no step. Averages of the whole model
    (EMA, SWA) change `anchor` and cannot reach the weights: such a copy raises ArgumentError when it is used.

    The update does not know what the loss is multiplied by later: weights, `GradScaler` and divisions by the number of
    micro-batches scale the gradient of the embeddings alone. The learning rate of the layer is its own; see
    `fused_optimizer`.

    Args:
        in_features, num_labels, options: as those of `sparsexmc.Classifier`, without `sparse_input`; `device` is where
            PyTorch puts new tensors unless given.
        update: "forward" takes the step in the forward. "backward" takes it in the backward, and the forward computes
            the loss alone: for trainers that drop losses or run forwards again, at up to twice the time.
        accumulate: "step": every micro-batch is a step of the layer. "buffer": the layer keeps the embeddings of
            micro-batches, and `fused_optimizer.step()` takes one step on all, which `batch_size` has to have room for;
            it equals the step of one large batch. Up to twice the time. Loading, moving or copying the layer drops
            micro-batches that wait.
        on_nonfinite: with NaN or Inf among the embeddings "skip" the batch: it is counted in `skipped`, its loss is NaN
            and its gradient 0. Or "raise" ArgumentError.
        ranks: in a process group of several, "refuse" to train, as every rank would train a layer of its own, or
            "gather" the batches: every rank then takes the same step on all of them, for which `batch_size` has to have
            room, and the layers stay equal. The loss is that of all; the gradient suits DistributedDataParallel.
        total_steps: length of the training in steps, from which follows what `rewiring` and `schedule` leave open: the
            default rewiring does nothing before it is known. Settable later, as `classifier.total_steps`.

    Attributes:
        classifier: the `sparsexmc.Classifier` inside, to save, look at its memory, or predict with.
        fused_optimizer: `param_groups[0]["lr"]` is the layer's learning rate, for any scheduler.

    Raises:
        ArgumentError, MemoryPlanError, DeviceError: as `sparsexmc.Classifier`.
    """

    def __init__(
        self,
        in_features: int,
        num_labels: int,
        *,
        update: str = "forward",
        accumulate: str = "step",
        on_nonfinite: str = "skip",
        ranks: str = "refuse",
        total_steps: int | None = None,
        device: str | torch.device | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        require_choice("update", update, ["forward", "backward"])
        require_choice("accumulate", accumulate, ["step", "buffer"])
        require_choice("on_nonfinite", on_nonfinite, ["skip", "raise"])
        require_choice("ranks", ranks, ["refuse", "gather"])
        if ranks == "gather" and (accumulate, update) != ("step", "forward"):
            raise ArgumentError('ranks="gather" steps in the forward alone; leave update="forward", accumulate="step"')
        if accumulate == "buffer" and update == "backward":
            raise ArgumentError('accumulate="buffer" steps in fused_optimizer.step(); leave update="forward"')
        if accumulate == "buffer":
            _check_buffered(**options)
        if options.get("sparse_input"):
            raise ArgumentError("OutputLayer reads embeddings; train a model with sparse_input=True by Classifier.fit")
        default = torch.get_default_device()
        if default.type == "meta":
            raise DeviceError(
                "new tensors go to the meta device here, as in from_pretrained of transformers, but OutputLayer has no "
                "parameters to fill in later; use PackedOutputLayer"
            )
        place = default if device is None else device
        if isinstance(place, torch.device) and place.type not in ("cpu", "cuda"):
            raise DeviceError(f'OutputLayer runs on the CPU or on a CUDA device, not on {place}; pass device="cpu"')
        self._set_classifier(Classifier(in_features, num_labels, device=str(place), **options))
        self.classifier.total_steps = total_steps
        rewiring = self.classifier.config["rewiring"]
        if total_steps is None and rewiring is not None and not rewiring["interval"]:
            _log.info("no connection is rewired before total_steps, the length of the training, is known")
        self.update, self.accumulate, self.on_nonfinite, self.ranks = update, accumulate, on_nonfinite, ranks
        self.fused_optimizer = FusedOptimizer(self, self.classifier)
        self._skipped = 0  # batches that no step has seen
        self._told = False

    def _restart(self) -> None:
        super()._restart()
        self._compared = False
        self._buffer = Buffer(self.classifier.batch_size)
        self._steps = Steps()

    def __deepcopy__(self, memo: dict[int, Any]) -> OutputLayer:
        new = super().__deepcopy__(memo)
        new.fused_optimizer = FusedOptimizer(new, new.classifier)
        new.fused_optimizer.param_groups[0].update(self.fused_optimizer.param_groups[0], params=[])
        return new

    # ---- training ----

    def forward(self, embeddings: torch.Tensor, labels: Any, instance_weights: Any = None) -> torch.Tensor:
        """The loss, summed over the labels and averaged over the instances; float32, no dimensions.

        Args:
            embeddings: [b, in_features], 1 <= b <= batch_size, float32, float16 or bfloat16, on the layer's device.
            labels: the positives: an integer tensor [b], or [b, p] with -1 (any negative) as padding; a sparse tensor
                or scipy CSR [b, num_labels]; or `(indptr, indices)`. On the CPU or beside the embeddings.
            instance_weights: [b] finite factors >= 0 on the losses of the instances, a tensor or array; None: all 1.
                The mean divides by b, not by the sum of the weights. They have no gradient.

        Raises:
            ArgumentError, DTypeError: naming the argument and the remedy; the layer is as before.
        """
        refuse_recording(embeddings)
        if torch.compiler.is_compiling():  # a decorator would import the compiler, which takes seconds
            torch._dynamo.graph_break(msg=UNCOMPILED)
            return torch.compiler.disable(self._forward)(embeddings, labels, instance_weights)
        return self._forward(embeddings, labels, instance_weights)

    def _forward(self, embeddings: torch.Tensor, labels: Any, instance_weights: Any) -> torch.Tensor:
        _require_tensor(embeddings)
        ignored = self.classifier._ignore_index
        found = targets(labels, instance_weights, embeddings, self.classifier.num_labels, ignored)
        grad_mode = torch.is_grad_enabled()
        if not (self.training and grad_mode) or self._anchor.frozen:
            return self._evaluate(embeddings, found, with_gradient=grad_mode and embeddings.requires_grad)
        self._check_may_train()
        self._anchor.train()
        step = self._runner(found, self._step)
        if self.update == "backward":
            return Loss.apply(embeddings, self.anchor, self._runner(found, self._look), step, None)
        if self.accumulate == "buffer":
            self._buffer.check_room(len(embeddings))
            step = self._runner(found, self._keep)
        return Loss.apply(embeddings, self.anchor, step, None, OpenStep(self._steps))

    def _runner(self, found: Targets, method: Callable[..., Outcome]) -> Callable[[torch.Tensor, bool], Outcome]:
        return lambda embeddings, gradient: method(embeddings, found, gradient)

    def _run(self, embeddings: torch.Tensor, found: Targets, gradient: bool, **options: Any) -> Outcome:
        return run(self.classifier, embeddings, found, gradient=gradient, skip=self.on_nonfinite == "skip", **options)

    def _step(self, embeddings: torch.Tensor, found: Targets, gradient: bool) -> Outcome:
        self.fused_optimizer.apply_to(self.classifier)
        ranks = world_size()
        if ranks == 1:
            outcome = self._run(embeddings, found, gradient, update=True)
            self._anchor.stepped()
            return outcome
        everyone, found, own = self._gather(embeddings, found)
        outcome = self._run(everyone, found, gradient, update=True)
        self._anchor.stepped()
        if outcome.gradient is None:
            return outcome
        return outcome._replace(gradient=outcome.gradient[own] * ranks)  # DDP will take the mean over the ranks

    def _gather(self, embeddings: torch.Tensor, found: Targets) -> tuple[torch.Tensor, Targets, slice]:
        numbers = ranked_numbers(self.classifier, compared=self._compared)
        everyone = gather(embeddings, found, numbers, lambda: fingerprint(self.classifier, self.on_nonfinite))
        self._compared = True
        return everyone

    def _look(self, embeddings: torch.Tensor, found: Targets, gradient: bool) -> Outcome:
        return self._run(embeddings, found, gradient, update=False, dropout=self.training)

    def _keep(self, embeddings: torch.Tensor, found: Targets, gradient: bool) -> Outcome:
        outcome = self._look(embeddings, found, gradient)
        if outcome.skipped:
            self._skipped += 1
        else:
            self._buffer.add(embeddings, found)
        return outcome

    def _evaluate(self, embeddings: torch.Tensor, found: Targets, *, with_gradient: bool) -> torch.Tensor:
        self._anchor.check()
        if with_gradient:
            return Loss.apply(embeddings, self.anchor.detach(), self._runner(found, self._look), None, None)
        loss = self._look(embeddings, found, False).loss
        return torch.scalar_tensor(loss, dtype=torch.float32, device=embeddings.device)

    def _step_buffer(self) -> None:
        if len(self._buffer):
            self._step(*self._buffer.take(), False)

    def _check_may_train(self) -> None:
        if self.update == "forward" and self._steps.would_repeat():
            raise ArgumentError(
                "activation checkpointing runs OutputLayer a second time, which would be a second step on the same "
                'batch; take the layer out of the checkpointed part, or make it with update="backward"'
            )
        if (ranks := world_size()) > 1 and self.ranks == "refuse":
            raise ArgumentError(
                f"a process group of {ranks} ranks is active, and each would train an OutputLayer of its own on its "
                'own batches; train in one process, or make the layer with ranks="gather"'
            )
        if self.accumulate == "step" and not self._told:
            self._told = True
            _log.info("OutputLayer takes a step in every training forward, micro-batches of an accumulated one too")

    @property
    def skipped(self) -> int:
        """Number of training batches that were skipped because of NaN or Inf."""
        return self._skipped + self.classifier.skipped

    # ---- prediction ----

    def topk(
        self, embeddings: torch.Tensor, k: int = 5, *, filter: Any = None, label_weights: npt.ArrayLike | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The k best labels of every row: scores [n, k] float32, descending, and ids [n, k] int64.

        The arguments are those of `Classifier.topk`.

        Raises:
            ArgumentError: in training mode with gradients enabled, or as `Classifier.topk`.
        """
        refuse_recording(embeddings)
        if torch.compiler.is_compiling():
            torch._dynamo.graph_break(msg=UNCOMPILED)
            return torch.compiler.disable(self.topk)(embeddings, k, filter=filter, label_weights=label_weights)
        if self.training and torch.is_grad_enabled():
            raise ArgumentError(
                "topk in a training forward: it predicts and has no gradient; call layer.eval() first, or use "
                "torch.no_grad()"
            )
        _require_tensor(embeddings)
        self._anchor.check()
        source = embeddings.detach().contiguous()
        scores, ids = self.classifier.topk(source, k, filter=filter, label_weights=label_weights)
        return torch.from_numpy(scores).to(embeddings.device), torch.from_numpy(ids).to(embeddings.device)

    def extra_repr(self) -> str:
        return f"{self.classifier!r}, update={self.update!r}, accumulate={self.accumulate!r}"


def _check_buffered(hidden: Any = None, auxiliary: Any = None, **_: Any) -> None:
    """Raises ArgumentError for options whose evaluation differs from the step that comes later."""
    if isinstance(hidden, Hidden) and hidden.dropout:
        raise ArgumentError(
            f'accumulate="buffer" with hidden.dropout={hidden.dropout}: losses and step would drop other units; put '
            'the dropout into the encoder, or use accumulate="step"'
        )
    if auxiliary is not None:
        raise ArgumentError(
            'accumulate="buffer" with auxiliary: the meta-classifier sends its gradient with the step, when the '
            'encoder has had its backward; use accumulate="step"'
        )


def _require_tensor(embeddings: Any) -> None:
    if not isinstance(embeddings, torch.Tensor):
        raise DTypeError(
            f"embeddings is a {type(embeddings).__qualname__}; pass a tensor [rows, in_features], such as "
            "torch.as_tensor(embeddings)"
        )
    if embeddings.is_nested:
        raise DTypeError(
            "embeddings is a nested tensor; pass a matrix [rows, in_features], such as torch.stack(embeddings.unbind())"
        )
    if embeddings.ndim != 2:
        raise ArgumentError(f"embeddings has shape {tuple(embeddings.shape)}; it must be a matrix [rows, in_features]")
