"""A model directory as one thing: everything in it is written, verified and replaced together."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import numpy as np

from .. import _core
from ..errors import CheckpointError


@dataclass(frozen=True)
class Part:
    """A file of a model directory.

    Attributes:
        bytes: its size.
        sha256: its hash; None for a file that version 0.1 put beside a checkpoint of format 1 without listing it.
    """

    bytes: int
    sha256: str | None


@dataclass(frozen=True)
class Manifest:
    """The content of a model's config.json: the model holds these parts and no others.

    Attributes:
        config: the classifier's configuration.
        progress: where its training stands: step, skipped, lr, rewirings, kept.
        parts: the files by name.
        library_version: of the sparsexmc that wrote it.
        format_version: 1 or 2.
    """

    config: dict[str, Any]
    progress: dict[str, Any]
    parts: dict[str, Part]
    library_version: str
    format_version: int


class ModelWriter:
    """Writes a model into a temporary directory beside `path`, which `publish` puts there in one step.

    Without `publish` everything vanishes at the end of the `with` block. Of two writers to one path the last wins
    whole; `ModelLock` keeps the second away from the start.

    Raises:
        CheckpointError: `path` is a file, or a directory that is no model, or one with a file that the model there does
            not list and that is not hidden; or nothing can be written.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._writer = _core.ModelWriter(fspath(path))

    def add_classifier(
        self,
        engine: _core.Classifier,
        label_names: Sequence[str] | None = None,
        card: str = "",
        *,
        for_prediction: bool = False,
    ) -> None:
        """Add model.safetensors, optimizer.safetensors, labels.txt where there are names, and README.md.

        Args:
            engine: the classifier's.
            label_names: [num_labels] names; None: none.
            card: text of the model card; empty: a short default.
            for_prediction: leave out optimizer.safetensors: the model can be read with trainable=False alone.

        Raises:
            ArgumentError: the classifier was loaded with trainable=False, and the optimizer's state is not left out.
        """
        self._writer.add_classifier(engine, list(label_names or ()), card, for_prediction)

    def open(self, name: str) -> BinaryIO:
        """A new part, to be written from its beginning to its end and closed.

        Leaving its `with` block by an exception leaves it unlisted, and `publish` then raises.

        Raises:
            ArgumentError: the name is taken, or no plain file name: it may not hold a slash or begin with a dot.
            CheckpointError: it cannot be written; also from writing and closing.
        """
        return cast(BinaryIO, _PartOutput(self._writer.open(name)))

    def add_text(self, name: str, text: str) -> None:
        """Add a part that holds the text in UTF-8."""
        self._writer.add_text(name, text)

    def publish(self) -> None:
        """Write config.json, wait for the disk, and take the place of what is at `path`.

        Raises:
            ArgumentError: there is no classifier, or a part is not closed.
            CheckpointError: it failed; what was at `path` is whole.
        """
        self._writer.publish()

    def close(self) -> None:
        """Remove the temporary directory, unless it has been published."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class ModelReader:
    """A model directory whose parts are all open and have the sizes and hashes that config.json lists.

    It stays readable when the directory is replaced meanwhile.

    Raises:
        CheckpointError: `path` is no model, or a part is missing, damaged, exchanged or not listed. Files whose names
            begin with a dot are not parts.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = fspath(path)
        self._reader: _core.ModelReader | None = _core.ModelReader(self._path)

    @property
    def path(self) -> str:
        """As it was given."""
        return self._path

    @property
    def manifest(self) -> Manifest:
        """The content of config.json."""
        document = json.loads(self._open().manifest)
        return Manifest(
            document["config"],
            document["progress"],
            self.parts,
            document["library_version"],
            document["format_version"],
        )

    @property
    def parts(self) -> dict[str, Part]:
        """All files but config.json, by name."""
        return {name: Part(**record) for name, record in self._open().parts.items()}

    def engine(self, device: str | None = None, num_threads: int = 0, *, trainable: bool = True) -> _core.Classifier:
        """The classifier; `device` None: the one that is stored, `num_threads` 0: the default; see `sparsexmc.load`."""
        return self._open().engine(device or "", num_threads, trainable)

    def restore(self, engine: _core.Classifier) -> None:
        """Replace tensors and progress of a classifier of the same configuration. Raises CheckpointError for another's;
        the classifier is as before then."""
        self._open().restore(engine)

    def label_names(self) -> list[str] | None:
        """One name per label; None if the model was saved without."""
        return self._open().label_names() if "labels.txt" in self.parts else None

    def open(self, name: str) -> BinaryIO:
        """A part as a binary file that can seek. Raises CheckpointError if there is none of that name."""
        return io.BufferedReader(_PartInput(self._open(), self._path, name))

    def text(self, name: str) -> str:
        """A part that is text in UTF-8. Raises CheckpointError if there is none, or it is not."""
        with self.open(name) as file:
            try:
                return file.read().decode("utf-8")
            except UnicodeDecodeError as error:
                raise CheckpointError(f"'{self._path}/{name}' is not UTF-8: {error}; copy the model again") from None

    def close(self) -> None:
        """Close all parts."""
        self._reader = None

    def _open(self) -> _core.ModelReader:
        if self._reader is None:
            raise ValueError("the reader has been closed")
        return self._reader

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read_manifest(path: str | PathLike[str]) -> Manifest:
    """The content of a model's config.json, after all parts were verified. Raises CheckpointError as `ModelReader`."""
    with ModelReader(path) as reader:
        return reader.manifest


class _PartOutput(io.RawIOBase):
    """The C++ writer has a buffer of its own, so this needs none."""

    def __init__(self, part: _core.PartWriter) -> None:
        self._part = part

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        content = np.frombuffer(data, np.uint8)
        self._part.write(content)
        return content.size

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._part.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._part.abandon()
            super().close()
        self.close()

    def __del__(self) -> None:
        """Leaves a part that was not closed unlisted, where a file would close itself."""


class _PartInput(io.RawIOBase):
    def __init__(self, reader: _core.ModelReader, path: str, name: str) -> None:
        if name not in reader.parts:
            raise CheckpointError(f"'{path}' has no part '{name}', only {', '.join(reader.parts)}")
        self._reader, self._name, self._position = reader, name, 0
        self.name = f"{path}/{name}"
        self._size = int(reader.parts[name]["bytes"])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._reader.read_into(self._name, self._position, np.frombuffer(buffer, np.uint8))
        self._position += read
        return read

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative position {start + offset}")
        self._position = start + offset
        return self._position
