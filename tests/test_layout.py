"""The shape of the source tree: which part may know which, how long files may get, what the library links."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE_SUFFIXES = {".h", ".hpp", ".cpp", ".cu", ".cuh", ".py", ".pyi"}
GENERATED = {"_core.pyi"}  # type stubs made from the compiled module
LONGEST = 300  # lines of code in a file
LONG_FILES: dict[str, str] = {}  # files that are longer, each with the reason
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)

# Everything that `#include <...>` may name without leaving the C++ standard library and its C headers.
STANDARD = re.compile(r"[a-z0-9_]+(\.h)?")


def sources(folder: str) -> list[Path]:
    """C++ and CUDA files below a folder of the repository."""
    found = sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in SOURCE_SUFFIXES - {".py", ".pyi"})
    assert found, f"no sources in {folder}: has it moved?"
    return found


def includes(file: Path) -> Iterator[tuple[bool, str]]:
    """(is it `<...>`, the name) of every include of a file."""
    for bracket, name in INCLUDE.findall(file.read_text()):
        yield bracket == "<", name


def violations(folder: str, allowed: re.Pattern[str], *, standard: bool = True) -> list[str]:
    """Includes below a folder that are neither standard headers nor match `allowed`."""
    return [
        f"{file.relative_to(ROOT)}: {name}"
        for file in sources(folder)
        for angled, name in includes(file)
        if not (angled and standard and STANDARD.fullmatch(name)) and not allowed.fullmatch(name)
    ]


def test_public_headers_know_only_the_standard_library_and_each_other() -> None:
    assert violations("cpp/include", re.compile(r"sparsexmc/\w+\.h")) == []


def test_bindings_know_only_public_headers_and_nanobind() -> None:
    own = "|".join(re.escape(p.name) for p in sources("python/src"))
    # Python.h and the system headers behind <...> belong to the bindings; headers of cpp/src and cpp/kernels do not.
    assert violations("python/src", re.compile(rf"sparsexmc/\w+\.h|nanobind/[\w/]+\.h|Python\.h|{own}")) == []


def test_host_logic_reaches_device_code_only_through_the_table_of_contents() -> None:
    kernels = {p.relative_to(ROOT / "cpp/kernels").as_posix() for p in sources("cpp/kernels")}
    known = {"kernels.h", "runtime.h", "integers.h", "stored_tensor.h", "float16.h", "finite.h", "losses.h", "rng.h"}
    wrong = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in sources("cpp/src")
        for angled, name in includes(file)
        if not angled and (name in kernels or name.startswith(("cpu/", "cuda/", "kernels/"))) and name not in known
    ]
    assert wrong == []


# The folders of cpp/src and those that each may include.
ARROWS: dict[str, set[str]] = {
    "csr": set(),
    "device": set(),
    "layers": {"csr", "device"},
    "model": {"device", "layers"},
    "clustering": {"layers"},
    "linear": {"clustering", "layers"},
    "neighbors": {"layers"},
    "checkpoint": set(),  # knows a classifier by its public methods
    "metrics": {"csr"},
    "text": {"csr"},
}


def include_graph() -> dict[str, set[str]]:
    """The rooms of cpp/src, "folder/stem" for a .h and its .cpp, and the rooms that each includes."""
    root = ROOT / "cpp/src"
    room = {p.relative_to(root).as_posix(): p.relative_to(root).with_suffix("").as_posix() for p in sources("cpp/src")}
    graph: dict[str, set[str]] = {name: set() for name in room.values()}
    for file, own in room.items():
        graph[own] |= {room[name] for _, name in includes(root / file) if name in room and room[name] != own}
    return graph


def floors(graph: dict[str, set[str]]) -> dict[str, int]:
    """Floor of each room, 1 + that of the highest room that it includes. CycleError names the rooms of a circle."""
    floor: dict[str, int] = {}
    for room in TopologicalSorter(graph).static_order():
        floor[room] = 1 + max((floor[other] for other in graph[room]), default=0)
    return floor


def test_host_logic_has_no_circle_and_few_floors() -> None:
    floor = floors(include_graph())
    assert len(floor) > 40
    top = max(floor.values())
    assert top <= 10, sorted(room for room in floor if floor[room] == top)


def test_host_logic_includes_down_the_arrows_only() -> None:
    folders: dict[str, set[str]] = {}
    for room, others in include_graph().items():
        folder = room.split("/")[0]
        folders.setdefault(folder, set()).update({other.split("/")[0] for other in others} - {folder})
    assert folders.keys() <= ARROWS.keys(), "write the arrows of the new folder into ARROWS"
    wrong = [f"{folder} -> {other}" for folder in folders for other in folders[folder] - ARROWS[folder]]
    assert sorted(wrong) == []
    floors(ARROWS)


def test_a_circle_is_named() -> None:
    with pytest.raises(CycleError, match=r"a/x.*b/y.*a/x|b/y.*a/x.*b/y"):
        floors({"a/x": {"b/y"}, "b/y": {"a/x"}, "c/z": {"a/x"}})


def test_kernels_know_no_host_logic() -> None:
    host = {p.relative_to(ROOT / "cpp/src").as_posix() for p in sources("cpp/src")}
    wrong = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in sources("cpp/kernels")
        for angled, name in includes(file)
        if not angled and name in host and not (file.parent / name).exists()
    ]
    assert wrong == []


@pytest.mark.parametrize(("backend", "other"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_backends_never_see_each_other(backend: str, other: str) -> None:
    folder = ROOT / "cpp/kernels" / backend
    wrong = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in sorted(folder.glob("*"))
        if file.suffix in SOURCE_SUFFIXES
        for _, name in includes(file)
        if f"{other}/" in name or (backend == "cpu" and name.startswith(("cuda", "cub/", "mma")))
    ]
    assert wrong == []


def test_cuda_kernels_have_cpu_twins_and_the_other_way_round() -> None:
    cuda = {p.stem for p in (ROOT / "cpp/kernels/cuda").glob("*.cu")}
    if not cuda:
        pytest.skip("no CUDA kernels yet")
    # dispatch and table choose between instruction sets, which a GPU does not have; neighbors are searched on the host.
    cpu = {p.stem for p in (ROOT / "cpp/kernels/cpu").glob("*.cpp")} - {"dispatch", "table", "nearest_rows"}
    assert cuda == cpu


def code_lines(file: Path) -> int:
    """Lines that hold code: neither blank, nor comment or include alone, nor part of a docstring."""
    text = file.read_text()
    lines = dict(enumerate(text.splitlines(), 1))
    if file.suffix in {".py", ".pyi"}:
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Expr(value=ast.Constant(value=str())):
                    for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                        lines.pop(line, None)
    comments = ("#",) if file.suffix in {".py", ".pyi"} else ("//", "#include")
    return sum(1 for line in lines.values() if line.strip() and not line.strip().startswith(comments))


def test_files_hold_one_idea() -> None:
    """At most 300 lines of code (CONTRIBUTING), so that a reader can keep a file in the head."""
    folders = ("cpp", "python", "tests", "bench", "examples", "scripts")
    files = [p for folder in folders for p in (ROOT / folder).rglob("*") if p.suffix in SOURCE_SUFFIXES]
    names = {p.relative_to(ROOT).as_posix(): p for p in files if p.name not in GENERATED}
    assert set(LONG_FILES) <= set(names), "a file that is listed as long is gone"
    long = {name for name, file in names.items() if code_lines(file) > LONGEST}
    assert long == set(LONG_FILES)


def test_descriptions_begin_with_a_verb_or_a_noun() -> None:
    """And not with the word that turns them into half a sentence."""
    question = re.compile(r'("""|/// )What ')
    folders = ("cpp", "python", "tests", "bench", "examples", "scripts")
    files = [p for folder in folders for p in (ROOT / folder).rglob("*") if p.suffix in SOURCE_SUFFIXES]
    lines = [(file, line.strip()) for file in files for line in file.read_text().splitlines()]
    assert [f"{file.relative_to(ROOT)}: {line}" for file, line in lines if question.match(line)] == []


def test_lines_of_markdown_wrap_at_120() -> None:
    """Tables, links alone and blocks of code apart. Lab notes stay as they were written."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    wrong = []
    for page in pages:
        if page.name == "CHANGELOG.md" or "experiments" in page.parts:
            continue
        text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        long = [line for line in text.splitlines() if len(line) > 120 and not line.startswith(("|", "    "))]
        wrong += [f"{page.relative_to(ROOT)}: {line[:60]}" for line in long if " " in line.strip()]
    assert wrong == []


@pytest.mark.slow
def test_public_headers_compile_alone(tmp_path: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    command = [compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT / 'cpp/include'}"]
    for header in sources("cpp/include"):
        alone = tmp_path / f"{header.stem}.cpp"
        alone.write_text(f'#include "sparsexmc/{header.name}"\n#include "sparsexmc/{header.name}"\n')
        done = subprocess.run([*command, str(alone)], capture_output=True, text=True)
        assert done.returncode == 0, f"{header.name} does not compile alone:\n{done.stderr}"


def test_installed_bill_of_materials() -> None:
    """It names every component whose licence comes along."""
    try:
        files = metadata.files("sparsexmc") or []
    except metadata.PackageNotFoundError:
        pytest.skip("imported from the source tree")
    (bill,) = [file for file in files if file.match("*.dist-info/sboms/sparsexmc.cdx.json")]
    document = json.loads(bill.read_text())
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["version"] == metadata.version("sparsexmc")
    names = {part["name"] for part in document["components"]}
    licences = {file.parent.name for file in files if "third_party" in file.parts}
    assert {name.removesuffix("-json").replace("-", "_") for name in names - {"cudart_static"}} == licences != set()


def test_built_library_links_no_second_threading_or_cuda_runtime() -> None:
    if shutil.which("readelf") is None:
        pytest.skip("no readelf")
    spec = importlib.util.find_spec("sparsexmc")
    assert spec is not None and spec.submodule_search_locations, "sparsexmc is not installed: pip install ."
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    libraries = [p for folder in folders for pattern in ("*.so", "lib/*.so*") for p in folder.glob(pattern)]
    assert any(p.name.startswith("libsparsexmc") for p in libraries), f"no libsparsexmc below {folders}"
    allowed = re.compile(r"lib(sparsexmc|stdc\+\+|gcc_s|m|c|pthread|dl|rt)\.so.*|ld-linux.*")
    for library in libraries:
        listing = subprocess.run(["readelf", "--dynamic", library], check=True, capture_output=True, text=True).stdout
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", listing)
        assert [name for name in needed if not allowed.fullmatch(name)] == [], library.name
