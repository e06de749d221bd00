"""Every reader against damaged files; a count of outcomes per reader.

    python tests/fuzz/readers.py [--count 1000] [--seed 0] [--only NAME] [--folder DIR]

A damaged file is read, and what is accepted is used. Each must be accepted or refused with an error of the library that
names the file, within 20 seconds and 4 GiB; anything else is listed with its seed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import scipy.sparse as sp

import sparsexmc as sx
from fuzz import damage
from sparsexmc import data as D
from sparsexmc.model.probabilities import Calibrations
from sparsexmc.model.settings import Settings, read_table

ROWS, FEATURES, LABELS = 24, 30, 12


@dataclass(frozen=True)
class Reader:
    """A file of a directory, the damage done to it, and the call that reads and uses it.

    Attributes:
        folder: the whole directory, which is copied.
        file: what is damaged in it.
        spoil: (copied folder, random) -> None.
        read: called with the copied folder.
    """

    folder: Path
    file: str
    spoil: Callable[[Path, Random], None]
    read: Callable[[Path], object]


def matrices(seed: int = 0) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Token counts [ROWS, FEATURES] and labels [ROWS, LABELS]."""
    random = np.random.default_rng(seed)
    X = sp.random(ROWS, FEATURES, 0.3, format="csr", dtype=np.float32, rng=random)
    X.data[:] = random.integers(1, 5, X.nnz)
    Y = sp.random(ROWS, LABELS, 0.2, format="csr", dtype=np.float32, rng=random)
    Y.data[:] = 1
    return X, Y


def use(dataset: D.Dataset) -> None:
    """Use a data set as training does first."""
    repr(dataset)
    if dataset.num_labels > 1 << 24 or dataset.num_features > 1 << 24:
        return  # as many as the file says, and no fault of it: counting them takes memory
    _ = dataset.label_counts
    if sp.issparse(dataset.X):
        with suppress(sx.ArgumentError):  # no counts any more
            D.TfIdf.fit(dataset.X).apply(dataset.X)
        dataset.X[: dataset.X.shape[0] // 2].T.tocsr()


def byte_spoiler(file: str, spoil: Callable[[bytes, Random], bytes] = damage.damaged) -> Callable[[Path, Random], None]:
    """Damages a file as bytes."""
    return lambda folder, random: (folder / file).write_bytes(spoil((folder / file).read_bytes(), random)) and None


def part_spoiler(file: str, spoil: Callable[[bytes, Random], bytes]) -> Callable[[Path, Random], None]:
    """Damages a part of a model, whose size and hash are made right."""
    return lambda folder, random: damage.write_part(folder, file, spoil((folder / file).read_bytes(), random))


def spoil_manifest(folder: Path, random: Random) -> None:
    """Damages config.json: its text, or its values with the hash made right."""
    file = folder / "config.json"
    if random.random() < 0.1:
        file.write_bytes(damage.damaged(file.read_bytes(), random))
    else:
        damage.write_manifest(folder, damage.damaged_json(json.loads(file.read_text()), random))


def spoil_json(content: bytes, random: Random) -> bytes:
    """JSON text with other values, or other bytes."""
    if random.random() < 0.3:
        return damage.damaged(content, random)
    return damage.dumped(damage.damaged_json(json.loads(content), random))


def spoil_xz(content: bytes, random: Random) -> bytes:
    """Compressed text, damaged before or after."""
    if random.random() < 0.5:
        return damage.damaged(content, random)
    return lzma.compress(damage.damaged(lzma.decompress(content), random))


def spoil_gz(content: bytes, random: Random) -> bytes:
    """Compressed text, damaged before or after."""
    if random.random() < 0.5:
        return damage.damaged(content, random)
    return gzip.compress(damage.damaged(gzip.decompress(content), random))


def spoil_safetensors(content: bytes, random: Random) -> bytes:
    """The header's values, its length or the data."""
    length = int.from_bytes(content[:8], "little")
    if random.random() < 0.4:
        return damage.damaged(content, random)
    header = damage.dumped(damage.damaged_json(json.loads(content[8 : 8 + length]), random))
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def load_model(folder: Path) -> None:
    """Read a model and predict with all of its parts."""
    model = sx.load(folder, num_threads=1)
    texts = ["red wine fish", "old fish"]
    with suppress(sx.Error):  # such as a vocabulary without the words of these texts
        model.predict(texts, k=2, threshold=0.5)
    repr(model)


def read_settings(file: Path) -> None:
    """Settings of a file; a message about a value, which may come from the command line as well, names the setting."""
    table = read_table(file)
    try:
        repr(Settings.from_table(table))
    except sx.Error as error:
        raise type(error)(f"{file}: {error}") from None


def _calibrations() -> Calibrations:
    scores = np.array([-2.0, -0.5, 0.5, 3.0])
    calibration = sx.Calibration(scores, np.array([0.1, 0.1, 0.6, 0.9]), 0.6)
    return Calibrations(calibration, calibration)


def _model(folder: Path, *, hidden: bool) -> None:
    """A model of raw texts with every part that a directory can hold."""
    words = ("red", "wine", "fish", "old", "new", "boat")
    random = Random(1)
    texts = [" ".join(random.choices(words, k=5)) for _ in range(ROWS)]
    lists = [sorted({random.choice(words) for _ in range(2)}) for _ in texts]
    names = list(words)
    Y = D.from_lists(sp.csr_matrix((ROWS, 1), dtype=np.float32), lists, label_names=names).Y
    vectorizer = D.TextVectorizer.fit(texts)
    counts = vectorizer.counts(texts)
    tfidf = D.TfIdf.fit(counts)
    X = tfidf.apply(counts)
    width = X.shape[1]
    options: dict[str, Any] = {"hidden": 8, "sparse_input": True, "fan_in": 4, "group_size": 2, "batch_size": 8}
    rewiring = sx.Rewiring(interval=2, method="rigl", grow_batches=2)
    classifier = sx.Classifier(
        width, len(names), **options, dense_labels=2, optimizer=sx.Adam(), rewiring=rewiring, num_threads=1
    )
    for _ in range(5):
        classifier.train_step(X[:8], Y[:8])
    classifier.label_names = names
    neighbors = (
        sx.Neighbors.of_hidden_layer(classifier, X, Y, num_threads=1) if hidden else sx.Neighbors(X, Y, num_threads=1)
    )
    sizes = {
        "in_features": width,
        "num_labels": len(names),
        "optimizer": {"name": "adam"},
        "schedule": {"kind": "linear"},
    }
    settings = Settings.from_table(
        {
            "model": {**sizes, **options, "hidden": {"features": 8}, "rewiring": {"method": "rigl"}},
            "data": {"tfidf": True},
        }
    )
    model = sx.Model(
        classifier,
        linear=sx.Linear(X, Y, num_threads=1),
        neighbors=neighbors,
        vectorizer=vectorizer,
        tfidf=tfidf,
        settings=settings,
        num_threads=1,
        calibrations=_calibrations(),
    )
    model.save(folder)


def make(folder: Path) -> dict[str, Reader]:
    """All readers, with good files below `folder`."""
    X, Y = matrices()
    names = [f"label {number}" for number in range(LABELS)]
    dataset = D.Dataset(X, Y, names, X_test=X[:5], Y_test=Y[:5], filter=Y, filter_test=Y[:5])
    for form in ("npz", "text", "text-pair"):
        D.save(folder / form, dataset, form=form)
    D.save(folder / "dense", D.Dataset(X.toarray(), Y, names))
    shutil.copytree(folder / "npz", folder / "xz")
    (folder / "xz/labels.txt").unlink()
    (folder / "xz/labels.txt.xz").write_bytes(lzma.compress("".join(f"{name}\n" for name in names).encode()))
    for name, lines in (
        ("trn.jsonl", [json.dumps({"text": f"red wine {i}", "labels": names[: i % 3]}) for i in range(ROWS)]),
        ("trn.tsv", ["\t".join([f"red wine {i}", *names[: i % 3]]) for i in range(ROWS)]),
        ("trn.csv", ["text,labels", *(f'"red ""wine"" {i}",{";".join(names[: i % 3])}' for i in range(ROWS))]),
        ("trn.json", [json.dumps({"title": f"wine {i}", "target_ind": [*range(i % 3)]}) for i in range(ROWS)]),
        ("trn.txt", [" ".join([f"__label__a{i % 5} __label__b red wine", str(i)]) for i in range(ROWS)]),
    ):
        (folder / name).mkdir()
        (folder / name / name).write_text("".join(line + "\n" for line in lines))
    for name, content in (
        ("trn.jsonl.gz", (folder / "trn.jsonl/trn.jsonl").read_bytes()),
        ("train.svm", "".join(f"{i % 5},7 {i}:1 {i + 3}:0.5\n" for i in range(ROWS)).encode()),
        ("train.txt.gz", (folder / "text/train.txt").read_bytes()),
    ):
        (folder / name).mkdir()
        (folder / name / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    _model(folder / "model", hidden=False)
    _model(folder / "hidden", hidden=True)
    (folder / "toml").mkdir()
    shutil.copy(folder / "model/run.toml", folder / "toml/run.toml")

    def data(form: str, file: str, spoil: Any = damage.damaged) -> Reader:
        return Reader(folder / form, file, byte_spoiler(file, spoil), lambda place: use(D.load(place)))

    def texts(file: str, spoil: Any = damage.damaged) -> Reader:
        return Reader(folder / file, file, byte_spoiler(file, spoil), lambda place: repr(D.load_texts(place)))

    def part(file: str, spoil: Any, model: str = "model") -> Reader:
        return Reader(folder / model, file, part_spoiler(file, spoil), load_model)

    def alone(file: str, kind: Any, model: str = "model") -> Reader:
        return Reader(
            folder / model, file, byte_spoiler(file, damage.damaged_npz), lambda place: repr(kind.load(place / file))
        )

    return {
        "npz features": data("npz", "X_trn.npz", damage.damaged_npz),
        "npz labels": data("npz", "Y_trn.npz", damage.damaged_npz),
        "npy": data("dense", "X_trn.npy"),
        "text": data("text", "train.txt"),
        "two-file features": data("text-pair", "trn_X_Xf.txt"),
        "two-file labels": data("text-pair", "trn_X_Y.txt"),
        "filter": data("npz", "filter_labels_train.txt"),
        "labels.txt": data("npz", "labels.txt"),
        "labels.txt.xz": data("xz", "labels.txt.xz", spoil_xz),
        "jsonl": texts("trn.jsonl"),
        "jsonl.gz": texts("trn.jsonl.gz", spoil_gz),
        "tsv": texts("trn.tsv"),
        "csv": texts("trn.csv"),
        "repository's texts": texts("trn.json"),
        "fastText": texts("trn.txt"),
        "libsvm": data("train.svm", "train.svm"),
        "text, packed": data("train.txt.gz", "train.txt.gz", spoil_gz),
        "config.json": Reader(folder / "model", "config.json", spoil_manifest, load_model),
        "model.safetensors": part("model.safetensors", spoil_safetensors),
        "optimizer.safetensors": part("optimizer.safetensors", spoil_safetensors),
        "labels.txt of a model": part("labels.txt", damage.damaged),
        "run.toml": part("run.toml", damage.damaged),
        "vocabulary.json": part("vocabulary.json", spoil_json),
        "features.npz": part("features.npz", damage.damaged_npz),
        "calibration.npz": part("calibration.npz", damage.damaged_npz),
        "linear.npz": part("linear.npz", damage.damaged_npz),
        "neighbors.npz": part("neighbors.npz", damage.damaged_npz),
        "neighbors.npz, hidden": part("neighbors.npz", damage.damaged_npz, "hidden"),
        "Linear.load": alone("linear.npz", sx.Linear),
        "Neighbors.load": alone("neighbors.npz", sx.Neighbors),
        "Neighbors.load, hidden": alone("neighbors.npz", sx.Neighbors, "hidden"),
        "toml": Reader(
            folder / "toml",
            "run.toml",
            byte_spoiler("run.toml"),
            lambda place: read_settings(place / "run.toml"),
        ),
    }


def outcome(reader: Reader, seed: str, work: Path) -> str:
    """Read one damaged file: "accepted", "refused", or what is wrong with the error."""
    if work.exists():
        shutil.rmtree(work)
    shutil.copytree(reader.folder, work)
    reader.spoil(work, Random(seed))
    try:
        reader.read(work)
    except sx.MemoryPlanError:
        return "refused"
    except sx.Error as error:
        return "refused" if str(work) in str(error) else f"names no file: {type(error).__name__}: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:100]}"
    return "accepted"


def in_children(name: str, reader: Reader, seeds: range, work: Path) -> tuple[Counter[str], list[str]]:
    """Outcomes, each batch of seeds in a process of its own, which may die."""
    counts: Counter[str] = Counter()
    faults = []
    first = seeds.start
    while first < seeds.stop:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            code = 3
            try:
                resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
                for seed in range(first, min(first + 200, seeds.stop)):
                    signal.alarm(20)
                    line = outcome(reader, f"{name} {seed}", work).replace("\n", " ")[:400]
                    os.write(write, (line + "\n").encode("utf-8", "replace"))
                code = 0
            finally:
                os._exit(code)
        os.close(write)
        with os.fdopen(read, encoding="utf-8", errors="replace") as pipe:
            lines = pipe.read().splitlines()
        status = os.waitpid(child, 0)[1]
        if status:
            lines.append(f"DIED of signal {status & 127}" if status & 127 else f"exit code {status >> 8}")
        for seed, line in enumerate(lines, first):
            kind = line if line in ("accepted", "refused") else line.split(":")[0]
            counts[kind] += 1
            if kind not in ("accepted", "refused"):
                faults.append(f"{name} {seed}: {line}")
        first += len(lines)
    return counts, faults


def main() -> int:
    """Run the readers that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        readers = make(Path(folder) / "good")
        failed = []
        for name, reader in readers.items():
            if options.only and not name.startswith(options.only):
                continue
            reader.read(reader.folder)  # what is whole is accepted
            seeds = range(options.seed, options.seed + options.count)
            counts, faults = in_children(name, reader, seeds, Path(folder) / "damaged")
            print(f"{name:24s}", ", ".join(f"{count} {kind}" for kind, count in counts.most_common()), flush=True)
            failed += faults
    for fault in failed[:200]:
        print(fault)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
