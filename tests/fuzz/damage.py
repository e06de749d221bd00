"""Damaging files: bytes, `.npz` members and their checksums made right, JSON values, checkpoints with right hashes.

Everything is chosen by a `random.Random`, so that a seed names a damaged file.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

INTEGERS = (
    0,
    1,
    -1,
    2,
    7,
    127,
    128,
    255,
    2**15,
    2**16,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32,
    2**40,
    2**62,
    2**63 - 1,
    -(2**63),
)
WORDS = (
    b"9" * 30,
    b"-1",
    b"1e999",
    b"nan",
    b"0",
    b"4294967296",
    b"9" * 5000,
    b"18446744073709551616",
    b"1_0",
    b"0x10",
    b"",
)
ODD_JSON: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63, 10**30, 1.5, 1e308, -0.0, "", "x" * 300, "\ud800", [], [[]], {}, {"a": {}}, [1],
)  # fmt: skip


def _flip(data: bytearray, random: Random) -> None:
    for _ in range(random.choice((1, 1, 2, 8))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _overwrite(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data))
    data[at : at + random.randint(1, 8)] = bytes(random.choice((0, 255, 127, 128, 10, 32, 48)) for _ in range(4))


def _truncate(data: bytearray, random: Random) -> None:
    del data[random.randrange(len(data)) :]


def _delete(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data))
    del data[at : at + random.randint(1, 40)]


def _repeat(data: bytearray, random: Random) -> None:
    at, to = random.randrange(len(data)), random.randrange(len(data))
    data[to:to] = data[at : at + random.randint(1, 60)] * random.choice((1, 1, 50))


def _integer(data: bytearray, random: Random) -> None:
    width = random.choice((2, 4, 8))
    at = random.randrange(0, max(1, len(data) - width), width if random.random() < 0.8 else 1)
    data[at : at + width] = (random.choice(INTEGERS) % 2 ** (8 * width)).to_bytes(width, "little")


def _number(data: bytearray, random: Random) -> None:
    numbers = list(re.finditer(rb"\d+", data))
    if numbers:
        number = random.choice(numbers)
        data[number.start() : number.end()] = random.choice(WORDS)


KINDS: tuple[Callable[[bytearray, Random], None], ...] = (
    _flip, _overwrite, _truncate, _delete, _repeat, _integer, _integer, _number, _number,
)  # fmt: skip


def damaged(content: bytes, random: Random) -> bytes:
    """`content` after one to three damages."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if data:
            random.choice(KINDS)(data, random)
    return bytes(data)


def damaged_npz(content: bytes, random: Random) -> bytes:
    """An archive of which a member is damaged and its checksum right; at times the archive itself."""
    if random.random() < 0.2:
        return damaged(content, random)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for _ in range(random.choice((1, 1, 2))):
        name = random.choice(list(members))
        member = members[name]
        split = 0 if random.random() < 0.15 else 128  # the header of a small array
        members[name] = member[:split] + damaged(member[split:], random)
    if random.random() < 0.05:
        members.pop(random.choice(list(members)))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return file.getvalue()


def damaged_json(document: Any, random: Random) -> Any:
    """A document with one to three values replaced, removed or put elsewhere."""
    document = copy.deepcopy(document)
    for _ in range(random.choice((1, 1, 2, 3))):
        places: list[tuple[Any, Any]] = []

        def visit(value: Any, places: list[tuple[Any, Any]] = places) -> None:
            keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
            for key in keys:
                places.append((value, key))
                visit(value[key])

        visit(document)
        if not places:
            break
        parent, key = random.choice(places)
        action = random.random()
        if action < 0.15:
            del parent[key]
        elif action < 0.3:
            other, place = random.choice(places)
            if place in other if isinstance(other, dict) else place < len(other):
                parent[key] = copy.deepcopy(other[place])
        elif action < 0.35:
            parent[key] = f"@{random.choice((20, 40, 2000))} deep@"
        elif isinstance(parent[key], int) and random.random() < 0.5:
            parent[key] = random.choice(INTEGERS)
        else:
            parent[key] = random.choice(ODD_JSON)
    return document


def _deepened(text: str) -> str:
    """The text with lists in lists in place of their marks."""
    return re.sub(r'"@(\d+) deep@"', lambda mark: "[" * int(mark[1]) + "]" * int(mark[1]), text)


def dumped(document: Any) -> bytes:
    """JSON text."""
    return _deepened(json.dumps(document)).encode()


def manifest_hash(document: dict[str, Any]) -> str:
    """The hash that a config.json needs to pass as unedited."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(_deepened(text).encode("utf-8", "replace")).hexdigest()


def write_part(model: Path, name: str, content: bytes) -> None:
    """Replace a file of a model directory, size and hash in config.json with it."""
    (model / name).write_bytes(content)
    manifest = model / "config.json"
    document = json.loads(manifest.read_text())
    document["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write_manifest(model, document)


def write_manifest(model: Path, document: Any) -> None:
    """Replace config.json, its own hash made right where the document still can have one."""
    if isinstance(document, dict):
        document["sha256"] = manifest_hash(document)
    (model / "config.json").write_bytes(dumped(document))
