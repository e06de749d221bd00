"""Builds this data set from the package index that apt already holds.

    python make.py OUT_DIR            # reads `apt-cache dumpavail`
    python make.py OUT_DIR avail.txt  # a saved copy of its output
    python make.py --texts OUT_DIR    # instead: the one-line descriptions as they are, for encoders of text

An instance is a package. Its features are what it says of itself (name, section, source package, one-line description,
debtags), hashed; its labels are the packages that it names in Pre-Depends, Depends, Recommends or Suggests.

Deterministic for a given index: packages are taken in name order (the first stanza of a name wins), features are hashed
by CRC-32, and a package is a test instance when the CRC-32 of the name of its *source* package is 0 or 1 modulo 10. So
near-copies (libfoo1, libfoo-dev, libfoo-doc) never straddle the split.
"""

from __future__ import annotations

import collections
import itertools
import json
import lzma
import re
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import scipy.sparse as sp

NUM_FEATURES = 2**17
TEST_TENTHS = 2
WORD = re.compile(r"[a-z0-9]+")
RELATIONS = ("pre-depends", "depends", "recommends", "suggests")

Stanza = Mapping[str, str]


def stanzas(index: str) -> Iterator[Stanza]:
    """The packages of an index: field name in lower case -> value, continuation lines joined."""
    for block in index.split("\n\n"):
        fields: dict[str, str] = {}
        key = ""
        for line in block.split("\n"):
            if line[:1] in (" ", "\t"):
                if key:
                    fields[key] += " " + line.strip()
            elif ":" in line:
                key, _, value = line.partition(":")
                key = key.lower()
                fields[key] = value.strip()
        if "package" in fields:
            yield fields


def source(fields: Stanza) -> str:
    """Name of the source package."""
    return fields.get("source", fields["package"]).split(" ")[0]


def related(fields: Stanza) -> set[str]:
    """Names of the packages that this one depends on, recommends or suggests: alternatives too, versions dropped."""
    names = set()
    for key in RELATIONS:
        for part in re.split(r"[,|]", fields.get(key, "")):
            name = part.split("(")[0].split("[")[0].strip().split(":")[0]
            if name and name != fields["package"]:
                names.add(name)
    return names


def tags(fields: Stanza) -> set[str]:
    """Debtags one by one: "a::b, c::{d,e}" gives a::b, c::d and c::e."""
    found = set()
    for facet, many, one in re.findall(r"([\w-]+)::(?:\{([^}]*)\}|([^,\s]+))", fields.get("tag", "")):
        found |= {f"{facet}::{value.strip()}" for value in (many.split(",") if many else [one]) if value.strip()}
    return found


def tokens(fields: Stanza) -> list[str]:
    """Features before hashing, with a prefix that tells where each comes from."""
    words = WORD.findall(fields.get("description", "").lower())
    names = WORD.findall(fields["package"].lower()) + WORD.findall(source(fields).lower())
    return [
        "s=" + fields.get("section", "none").split("/")[-1],
        "w=" + source(fields),
        "p=" + fields["package"].split("-")[0],
        *("n=" + word for word in names),
        *("d=" + word for word in words),
        *(f"b={first} {second}" for first, second in itertools.pairwise(words)),
        *("t=" + tag for tag in tags(fields)),
    ]


def matrix(rows: Iterable[Mapping[int, int]], num_columns: int) -> sp.csr_matrix:
    """uint8 CSR of rows given as {column: count}; counts stop at 255."""
    indptr, indices, data = [0], [], []
    for row in rows:
        columns = sorted(row)
        indices += columns
        data += [min(row[column], 255) for column in columns]
        indptr.append(len(indices))
    arrays = (np.array(data, np.uint8), np.array(indices, np.int32), np.array(indptr, np.int32))
    return sp.csr_matrix(arrays, shape=(len(indptr) - 1, num_columns))


def crc(text: str) -> int:
    return zlib.crc32(text.encode())


def write_lines(path: Path, lines: Iterable[str]) -> None:
    with lzma.open(path, "wt", encoding="utf-8", preset=9) as file:
        file.writelines(line + "\n" for line in lines)


def read_index(saved: str | None) -> str:
    """The output of `apt-cache dumpavail`, or a saved copy of it."""
    if saved:
        return Path(saved).read_text(encoding="utf-8")
    return subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True).stdout.decode("utf-8")


def split(index: str) -> tuple[list[Stanza], list[Stanza], list[str]]:
    """Training instances, test instances, and the names of the labels that the training instances have."""
    packages: dict[str, Stanza] = {}
    for fields in stanzas(index):
        packages.setdefault(fields["package"], fields)
    instances = [packages[name] for name in sorted(packages) if related(packages[name])]
    train = [f for f in instances if crc(source(f)) % 10 >= TEST_TENTHS]
    label_names = sorted(set().union(*(related(f) for f in train)))
    known = set(label_names)
    # A test instance needs a label that training knows.
    test = [f for f in instances if crc(source(f)) % 10 < TEST_TENTHS and not known.isdisjoint(related(f))]
    return train, test, label_names


def write_texts(out: Path, train: list[Stanza], test: list[Stanza], label_names: list[str]) -> None:
    """trn.jsonl and tst.jsonl as `sparsexmc.data.load_texts` reads them; without a description a package's name."""
    known = set(label_names)
    for part, rows in (("trn", train), ("tst", test)):
        with open(out / f"{part}.jsonl", "w", encoding="utf-8") as file:
            for f in rows:
                text = f.get("description") or f["package"]
                entry = {"name": f["package"], "text": text, "labels": sorted(related(f) & known)}
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        print(f"{file.name}: {len(rows)} packages")


def write_counts(out: Path, train: list[Stanza], test: list[Stanza], label_names: list[str]) -> None:
    """The data set that stands beside this file."""
    number = {name: i for i, name in enumerate(label_names)}
    for part, rows in (("trn", train), ("tst", test)):
        X = matrix((collections.Counter(crc(t) % NUM_FEATURES for t in tokens(f)) for f in rows), NUM_FEATURES)
        Y = matrix(({number[n]: 1 for n in related(f) if n in number} for f in rows), len(label_names))
        sp.save_npz(out / f"X_{part}.npz", X)
        sp.save_npz(out / f"Y_{part}.npz", Y)
        print(f"{part}: {len(rows)} instances, {Y.nnz / len(rows):.2f} labels each")
    print(f"{len(label_names)} labels")
    write_lines(out / "labels.txt.xz", label_names)
    write_lines(out / "names.txt.xz", (f["package"] for f in train + test))


def main(arguments: list[str]) -> None:
    as_texts = arguments[:1] == ["--texts"]
    out_dir, *saved = arguments[as_texts:]
    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    write = write_texts if as_texts else write_counts
    write(out, *split(read_index(saved[0] if saved else None)))


if __name__ == "__main__":
    if len(sys.argv) - ("--texts" in sys.argv[1:2]) not in (2, 3):
        sys.exit(__doc__)
    main(sys.argv[1:])
