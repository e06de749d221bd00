"""
The C++ engine of sparsexmc. Internal: use the package sparsexmc instead.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy
from numpy.typing import NDArray


def version() -> str:
    """Version of the library, e.g. "0.1.0"."""

def cpu_level() -> str:
    """
    Instruction set that the kernels use on this CPU, e.g. "x86-64-v3 (AVX2)".
    """

def cpu_matrix_units() -> bool:
    """
    Do the kernels use matrix units of this CPU (AMX)? Then products of bfloat16 are faster than of float32.
    """

def default_num_threads() -> int:
    """
    Worker threads where none are asked for: SPARSEXMC_NUM_THREADS, OMP_NUM_THREADS, or the CPUs of the process.
    """

def cuda_backend() -> str:
    """
    CUDA in this build: "none", "cuda", or "shim", whose kernels run on the CPU (for tests).
    """

def cuda_unavailable_reason() -> str:
    """Why CUDA cannot be used here, in one line; empty if it can."""

def cuda_kernel_image(index: int) -> str:
    """
    The image that card `index` runs: "sm_90" for machine code, "compute_90" for PTX that the driver compiles at first use; empty if it runs none.
    """

class Error(Exception):
    """Base of all errors of sparsexmc."""

class ArgumentError(Error, ValueError):
    """An argument has the wrong value, shape, layout or device."""

class DivergenceError(ArgumentError):
    """
    A training has diverged: the loss of a batch of finite numbers is NaN or Inf, and the weights are lost. Load the last good checkpoint, lower lr, or scale the inputs.
    """

class DTypeError(Error, TypeError):
    """An argument has the wrong dtype or kind."""

class MemoryPlanError(Error, MemoryError):
    """The planned bytes exceed the memory limit."""

class DeviceError(Error, RuntimeError):
    """A device is missing, unusable or failed."""

class DataError(Error, ValueError):
    """A data file is malformed; the message begins with "file:line: "."""

class CheckpointError(Error, RuntimeError):
    """
    A checkpoint is missing, truncated, edited, foreign, or cannot be written.
    """

class Tensor:
    """An array of another library, borrowed until this object goes."""

    def __init__(self, array: object, dtype: str | None = None) -> None:
        """
        array: a NumPy array or a DLPack capsule, which this takes over; dtype: reads the elements as this one of the same size.
        """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def strides(self) -> tuple[int, ...]:
        """In elements."""

    @property
    def dtype(self) -> str: ...

    @property
    def contiguous(self) -> bool:
        """Is it C-contiguous?"""

def dlpack_capsule(storage: object, dtype: str) -> Any:
    """
    A DLPack capsule over the memory of `storage`, its elements read as `dtype`; it keeps the memory alive.
    """

class DeviceArray:
    """Memory of a GPU that other libraries may take over."""

    def capsule(self, stream: int) -> Any:
        """
        A DLPack capsule; the taker's stream waits for what is queued now, -1: no waiting.
        """

class RewiringRecord:
    """The record of a rewiring of a segment."""

    @property
    def step(self) -> int: ...

    @property
    def segment(self) -> int: ...

    @property
    def changed(self) -> int:
        """Connections replaced; each is group_size weights."""

    @property
    def score_dropped(self) -> float:
        """Mean |w| of the dropped ones, times the feature's scale."""

    @property
    def score_grown(self) -> float:
        """rigl: mean gradient norm of the grown ones; set: 0."""

    def __repr__(self) -> str: ...

def plan(config: str) -> tuple[list[tuple[str, int]], str]:
    """Entries (name, bytes) and table of the memory plan."""

def loss_names() -> list[str]:
    """Losses that a configuration may name."""

def schedule_for_total_steps(warmup_steps: int, steps: int) -> int:
    """The total_steps of a schedule that leaves them open."""

def rewiring_for_total_steps(interval: int, start: int, stop: int, steps: int) -> tuple[int, int]:
    """
    (interval, stop) of a rewiring for a training of so many steps; 0 leaves one open.
    """

class StepResult:
    """The outcome of a step; see sparsexmc.StepResult."""

    @property
    def loss(self) -> float: ...

    @property
    def auxiliary_loss(self) -> float: ...

    @property
    def skipped(self) -> bool: ...

    @property
    def rewired(self) -> bool: ...

class Step:
    """A training step, which may still run."""

    def result(self) -> StepResult:
        """Waits for the step. NaN or Inf in the batch raises here."""

class Classifier:
    """The C++ classifier; see sparsexmc.Classifier."""

    def __init__(self, config: str, label_order: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, label_counts: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, initial_bias: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, positive_weights: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, clusters: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)] | None) -> None:
        """Arrays hold one number per label."""

    def start_average(self, config: str) -> None:
        """The average is that of a whole configuration."""

    def stop_average(self, keep: bool) -> None: ...

    def use_average(self, use: bool) -> None: ...

    @property
    def average_in_use(self) -> bool: ...

    @property
    def averaged(self) -> int:
        """Number of updates of the running averages."""

    def set_averaged(self, averaged: int, in_use: bool) -> None:
        """For a state whose tensors are to be written next."""

    def begin_fork(self, seconds: float) -> bool:
        """Whether no call of another thread runs until end_fork()."""

    def end_fork(self) -> None: ...

    def save(self, path: str, label_names: Sequence[str], card: str) -> None: ...

    def start_step(self, embeddings: Tensor, label_indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], label_indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], instance_weights: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, gradient: Tensor | None, skip_nonfinite: bool, stream: int, caller_stream: int | None) -> Step:
        """
        Runs on `stream`; `caller_stream` waits for the gradient. Zeros in it: the batch was skipped.
        """

    def eval_step(self, embeddings: Tensor, label_indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], label_indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], instance_weights: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, gradient: Tensor | None, skip_nonfinite: bool, dropout: bool, stream: int) -> Step:
        """Updates nothing, and has run when it returns."""

    def start_sparse_step(self, indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], values: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], cols: int, label_indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], label_indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], instance_weights: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, skip_nonfinite: bool, stream: int) -> Step: ...

    def topk(self, embeddings: Tensor, scores: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], ids: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu')], label_weights: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, stream: int) -> None: ...

    def topk_sparse(self, indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], values: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], cols: int, scores: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], ids: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu')], label_weights: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, stream: int) -> None: ...

    def hidden_activations(self, embeddings: Tensor, out: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], stream: int) -> None: ...

    def hidden_activations_sparse(self, indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], values: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], cols: int, out: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], stream: int) -> None: ...

    def device_array(self, name: str, rows: int, cols: int, dtype: str) -> DeviceArray:
        """Uninitialised memory from the pool, for a model on a GPU."""

    @property
    def own_stream(self) -> int:
        """Handle of the engine's own stream; 0 on the CPU."""

    @property
    def lr(self) -> float: ...

    @lr.setter
    def lr(self, arg: float, /) -> None: ...

    @property
    def momentum(self) -> float: ...

    @momentum.setter
    def momentum(self, arg: float, /) -> None: ...

    @property
    def total_steps(self) -> int: ...

    @total_steps.setter
    def total_steps(self, arg: int, /) -> None: ...

    @property
    def step(self) -> int: ...

    @step.setter
    def step(self, arg: int, /) -> None: ...

    def make_room_for_kept(self, sizes: Sequence[tuple[int, int, bool]]) -> None:
        """
        (instances, positives, whether these have weights) of each kept batch, whose tensors are to be written next.
        """

    @property
    def trainable(self) -> bool: ...

    @property
    def skipped(self) -> int: ...

    @property
    def rewirings(self) -> list[RewiringRecord]: ...

    @property
    def device(self) -> str: ...

    @property
    def num_threads(self) -> int: ...

    def config_json(self) -> str: ...

    def tensors(self) -> list[tuple[str, str, list[int]]]:
        """(name, dtype, shape) of every tensor, in checkpoint order."""

    def read(self, name: str, out: Annotated[NDArray, dict(order='C', device='cpu')]) -> None: ...

    def write(self, name: str, data: Annotated[NDArray, dict(order='C', device='cpu', writable=False)]) -> None: ...

    def regroup(self, label_order: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None: ...

    def order_by_weights(self, seed: int) -> Annotated[NDArray[numpy.int64], dict(shape=(None,))]:
        """Label ids in an internal order for regroup()."""

    def memory_plan(self) -> tuple[list[tuple[str, int]], str]: ...

    def memory_entries(self) -> list[tuple[str, int]]: ...

    def memory_statistics(self) -> dict[str, int]: ...

def cluster_labels(X: Tensor, indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], num_labels: int, group_size: int, dense_labels: int, num_threads: int, seed: int) -> Annotated[NDArray[numpy.int64], dict(shape=(None,))]:
    """Label ids in internal order, groups alike; dense features."""

def cluster_labels_sparse(X_indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], X_indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], X_values: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], X_cols: int, indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], num_labels: int, group_size: int, dense_labels: int, num_threads: int, seed: int) -> Annotated[NDArray[numpy.int64], dict(shape=(None,))]:
    """The same with features in CSR form."""

class LinearTraining:
    def __init__(self, indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], values: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], cols: int, label_indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], label_indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], num_labels: int, held: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], instance_weights: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, negatives: int, threshold: float, seed: int, num_threads: int) -> None: ...

    def search(self) -> None: ...

    def solve(self, cost: float) -> None: ...

    def admit_held(self) -> None: ...

    def weights(self) -> tuple[Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))]]:
        """
        (data, indices, indptr) of the weights, a CSR matrix with a row per feature and a column per label.
        """

    def take_weights(self) -> tuple[Annotated[NDArray[numpy.float32], dict(shape=(None,))], Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.int64], dict(shape=(None,))]]:
        """The same without a copy, as the last call."""

class MetricsAtK:
    """All metrics at one cut-off k, as shares in [0, 1]."""

    @property
    def k(self) -> int: ...

    @property
    def precision(self) -> float: ...

    @property
    def ndcg(self) -> float: ...

    @property
    def recall(self) -> float: ...

    @property
    def psp(self) -> float: ...

    @property
    def psndcg(self) -> float: ...

    @property
    def coverage(self) -> float: ...

    @property
    def macro_f1(self) -> float: ...

class RankingMetrics:
    """Accumulates ranking metrics batch by batch."""

    def __init__(self, num_labels: int, ks: Sequence[int], inverse_propensities: Annotated[NDArray[numpy.float64], dict(shape=(None,), order='C', device='cpu', writable=False)] | None = None) -> None: ...

    def update(self, ids: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu', writable=False)], indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None:
        """
        Adds a batch: ids [n, width], best first, -1 for no prediction; the positives as CSR rows.
        """

    def compute(self) -> list[MetricsAtK]: ...

    def label_counts(self, k: int) -> tuple[Annotated[NDArray[numpy.uint32], dict(shape=(None,))], Annotated[NDArray[numpy.uint32], dict(shape=(None,))], Annotated[NDArray[numpy.uint32], dict(shape=(None,))]]:
        """
        Positives, predictions and hits of every label at the cut-off k, each [num_labels].
        """

    @property
    def num_instances(self) -> int: ...

def inverse_propensities(counts: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu', writable=False)], num_train: int, A: float, B: float) -> Annotated[NDArray[numpy.float64], dict(shape=(None,))]:
    """q = 1 + C (n + B)^-A for every label."""

def largest_products(indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], values: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], cols: int, query_indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], query_indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], query_values: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], products: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], columns: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu')], num_threads: int) -> None:
    """
    Fills products and columns [n, count] with the largest of each query; postings and queries in CSR form.
    """

def nearest_rows(rows: Annotated[NDArray[numpy.int8], dict(shape=(None, None, None), order='C', device='cpu', writable=False)], scales: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], queries: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], products: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], numbers: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu')], num_threads: int) -> None:
    """
    Fills products and numbers [n, count] with the largest of each query; row r is scales[r] times rows[r // 32, :, r % 32].
    """

class VoteIndex:
    """
    Who contributes to which label, row by row: candidates and voting neighbors.
    """

    def __init__(self, ids: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu', writable=False)], instances: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu', writable=False)], indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], instance_weights: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, num_labels: int, num_threads: int) -> None: ...

    def rank(self, candidates: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], similarities: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], power: float, weight: float, smoothing: float, label_factors: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, scores: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], best: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu')], num_threads: int) -> None:
        """
        Fills scores and best [n, k] with scores and votes added up label by label, times the label's factor.
        """

def read_repository(source: object) -> tuple[tuple[Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], tuple[int, int]], tuple[Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int32], dict(shape=(None,))], tuple[int, int]]]:
    """
    ((indptr, indices, values, shape) of the features, (indptr, indices, shape) of the labels).
    """

def read_libsvm(source: object, first_number: int) -> tuple[tuple[Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], tuple[int, int]], tuple[Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int32], dict(shape=(None,))], tuple[int, int]]]:
    """The same of a file without a header."""

def read_features(source: object) -> tuple[Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int32], dict(shape=(None,))], Annotated[NDArray[numpy.float32], dict(shape=(None,))], tuple[int, int]]:
    """(indptr, indices, values, shape) of a file of the two-file form."""

def read_labels(source: object) -> tuple[Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int32], dict(shape=(None,))], tuple[int, int]]:
    """(indptr, indices, shape) of a file of the two-file form."""

def read_filter(source: object, rows: int, num_labels: int) -> tuple[Annotated[NDArray[numpy.int64], dict(shape=(None,))], Annotated[NDArray[numpy.int32], dict(shape=(None,))], tuple[int, int]]:
    """(indptr, indices, shape) of a filter file."""

def write_repository(path: str, indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], values: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], cols: int, label_indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], label_indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], num_labels: int) -> None: ...

def write_features(path: str, indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], values: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], cols: int) -> None: ...

def write_labels(path: str, indptr: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], indices: Annotated[NDArray, dict(shape=(None,), order='C', device='cpu', writable=False)], num_labels: int) -> None: ...

class PartWriter:
    """A new part of a model directory."""

    def write(self, data: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu', writable=False)]) -> None: ...

    def close(self) -> None:
        """Waits for the disk and lists the part."""

    def abandon(self) -> None:
        """Leaves the part unlisted: nothing can be published."""

class ModelWriter:
    """Writes a model directory, whole or not at all."""

    def __init__(self, path: str) -> None: ...

    def add_classifier(self, engine: Classifier, label_names: Sequence[str], card: str, for_prediction: bool) -> None: ...

    def open(self, name: str) -> PartWriter: ...

    def add_text(self, name: str, text: str) -> None: ...

    def publish(self) -> None: ...

    def close(self) -> None:
        """Without publish() everything vanishes."""

class DirectoryWriter:
    """Writes a directory of named files, whole or not at all."""

    def __init__(self, path: str, names: Sequence[str]) -> None: ...

    @property
    def path(self) -> str:
        """Of the temporary directory."""

    def publish(self) -> None: ...

    def close(self) -> None:
        """Without publish() everything vanishes."""

class ModelReader:
    """A model directory, open and verified."""

    def __init__(self, path: str) -> None: ...

    @property
    def manifest(self) -> str:
        """The text of config.json."""

    @property
    def parts(self) -> dict:
        """name -> {bytes, sha256}."""

    def read_into(self, name: str, offset: int, out: Annotated[NDArray[numpy.uint8], dict(shape=(None,), order='C', device='cpu')]) -> int:
        """
        Number of bytes read, fewer than `out` has room for only at the end of the part.
        """

    def engine(self, device: str, num_threads: int, trainable: bool) -> Classifier: ...

    def restore(self, engine: Classifier) -> None:
        """
        Replaces tensors and progress of a classifier with the same configuration.
        """

    def label_names(self) -> list[str]: ...

def enclosing_model(path: str) -> str:
    """The model directory that a path lies in; empty if there is none."""

def recover_directory(path: str) -> None:
    """Puts back a directory that a process set aside when it was killed."""
