"""Builds this data set from the package index that apt already holds.

    python make.py OUT_DIR            # reads `apt-cache dumpavail`
    python make.py OUT_DIR avail.txt  # a saved copy of its output

An instance is a package. Its features are what it says of itself (name, section, source package, one-line description,
debtags), hashed; its labels are the packages that it names in Pre-Depends, Depends, Recommends or Suggests.

Deterministic for a given index: packages are taken in name order (the first stanza of a name wins), features are hashed
by CRC-32, and a package is a test instance when the CRC-32 of the name of its *source* package is 0 or 1 modulo 10. So
near-copies (libfoo1, libfoo-dev, libfoo-doc) never straddle the split.
"""

from __future__ import annotations

import collections
import itertools
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


def main(out_dir: str, saved: str | None = None) -> None:
    if saved:
        index = Path(saved).read_text(encoding="utf-8")
    else:
        index = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True).stdout.decode("utf-8")
    packages: dict[str, Stanza] = {}
    for fields in stanzas(index):
        packages.setdefault(fields["package"], fields)
    instances = [packages[name] for name in sorted(packages) if related(packages[name])]
    train = [f for f in instances if crc(source(f)) % 10 >= TEST_TENTHS]
    label_names = sorted(set().union(*(related(f) for f in train)))
    number = {name: i for i, name in enumerate(label_names)}
    # A test instance needs a label that training knows.
    test = [f for f in instances if crc(source(f)) % 10 < TEST_TENTHS and not number.keys().isdisjoint(related(f))]

    out = Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    for part, rows in (("trn", train), ("tst", test)):
        X = matrix((collections.Counter(crc(t) % NUM_FEATURES for t in tokens(f)) for f in rows), NUM_FEATURES)
        Y = matrix(({number[n]: 1 for n in related(f) if n in number} for f in rows), len(label_names))
        sp.save_npz(out / f"X_{part}.npz", X)
        sp.save_npz(out / f"Y_{part}.npz", Y)
        print(f"{part}: {len(rows)} instances, {Y.nnz / len(rows):.2f} labels each")
    print(f"{len(label_names)} labels")
    write_lines(out / "labels.txt.xz", label_names)
    write_lines(out / "names.txt.xz", (f["package"] for f in train + test))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
