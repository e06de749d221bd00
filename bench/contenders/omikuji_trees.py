"""Three Parabel-like trees of Omikuji, its defaults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp
from omikuji import ffi, lib

from .contender import Ids, K, Matrix, Split, folder_bytes

BEAM = 10  # its default, as is the share of weights above which a vector is stored dense for prediction
DENSE_FROM = 0.1


class OmikujiTrees:
    """Balanced 2-means down to 100 labels, squared hinge loss in every node, beam search. It cannot be seeded.

    It trains on text files only and predicts one row at a time. The calls are those of its Python class, without the
    conversion of every row to a list of pairs, and with reading, which is not timed, and learning apart.
    """

    seeded = False

    def __init__(self, threads: int) -> None:
        self.pool = ffi.gc(lib.init_omikuji_thread_pool(threads), lib.free_omikuji_thread_pool)
        self.settings: dict[str, object] = {}

    def prepare(self, train: Split, folder: Path) -> None:
        self.folder = folder
        text = folder / "train.txt"
        write_text(text, train)
        self.data = _owned(lib.load_omikuji_data_set(_path(text), self.pool), lib.free_omikuji_data_set)
        text.unlink()

    def train(self) -> None:
        model = lib.train_omikuji_model(self.data, lib.omikuji_default_hyper_param(), self.pool)
        self.model = _owned(model, lib.free_omikuji_model)

    def finish(self) -> int:
        """Stores the denser weights as the command line of the tool does, for faster prediction."""
        if lib.save_omikuji_model(self.model, _path(self.folder)) < 0:
            raise RuntimeError("Omikuji cannot save its model")
        del self.data
        lib.densify_omikuji_model(self.model, DENSE_FROM, self.pool)
        return folder_bytes(self.folder)

    def predict(self, X: Matrix) -> Ids:
        X = sp.csr_matrix(X)
        columns = ffi.from_buffer("uint32_t[]", X.indices.astype(np.uint32))
        values = ffi.from_buffer("float[]", X.data)
        labels, scores = np.zeros(K, np.uint32), np.zeros(K, np.float32)
        into = ffi.from_buffer("uint32_t[]", labels), ffi.from_buffer("float[]", scores)
        ids = np.full((X.shape[0], K), -1, np.int64)
        for row, begin, end in zip(ids, X.indptr[:-1].tolist(), X.indptr[1:].tolist(), strict=True):
            features = end - begin, columns + begin, values + begin
            found = lib.omikuji_predict(self.model, BEAM, *features, K, *into, self.pool)
            row[:found] = labels[:found]
        return ids


def write_text(path: Path, split: Split) -> None:
    """The text format of the Extreme Classification Repository. A row ends without a space: Omikuji rejects one."""
    X, Y = sp.csr_matrix(split.X), split.Y
    with path.open("w") as file:
        file.write(f"{X.shape[0]} {X.shape[1]} {Y.shape[1]}\n")
        for row in range(X.shape[0]):
            labels = Y.indices[Y.indptr[row] : Y.indptr[row + 1]].tolist()
            features = slice(X.indptr[row], X.indptr[row + 1])
            pairs = zip(X.indices[features].tolist(), X.data[features].tolist(), strict=True)
            line = ",".join(map(str, labels)) + " " + " ".join(f"{column}:{value:.9g}" for column, value in pairs)
            file.write(line.rstrip() + "\n")


def _path(path: Path) -> object:
    return ffi.new("char[]", str(path).encode())


def _owned(pointer: object, free: object) -> object:
    """A pointer that frees what it points to; it is null where a call failed, which has then said why."""
    if pointer == ffi.NULL:
        raise RuntimeError("Omikuji failed")
    return ffi.gc(pointer, free)
