"""The import graph of the Python package: no circle of modules, and arrows between its parts that only go down."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "python" / "sparsexmc"
ENGINE = "sparsexmc._core"  # the compiled module
DATA = "datasets"  # no part of the library

# The parts of the package: modules and subpackages directly below it. Each imports from floors further up in this list
# alone. `__main__` runs the command line, and the package's own names only hand on; no part imports either.
FLOORS = (
    ("_command", "_core"),
    ("_csr", "_html", "errors"),
    ("_checks", "_files", "_npz", "_sparse", "interop", "label_metrics", "memory"),
    ("calibration", "core", "label_options", "metrics", "weight_average"),
    ("config",),
    ("training",),
    ("classifier", "clustering", "data"),
    ("ensemble", "jax", "report", "torch"),
    ("model",),
    ("cli", "sklearn"),
)

Graph = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for file in PACKAGE.rglob("*.py"):
        parts = ("sparsexmc", *file.relative_to(PACKAGE).with_suffix("").parts)
        if DATA not in parts:
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported_names(module: str, file: Path) -> Iterator[str]:
    """Dotted names that a module imports: anywhere in it, under TYPE_CHECKING and in functions too."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def import_graph() -> Graph:
    """Module -> modules of the package that it imports."""
    known = modules()
    graph: Graph = {module: set() for module in (*known, ENGINE)}
    for module, file in known.items():
        for name in imported_names(module, file):
            while name and name not in graph:  # an attribute of a module
                name = name.rpartition(".")[0]
            if name and name != module:
                graph[module].add(name)
    return graph


def circles(graph: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """The strongly connected components of more than one node (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = set()

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for other in graph[node]:
            if other not in number:
                visit(other)
            if other in stack:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == number[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.add(frozenset(component))

    for node in graph:
        if node not in number:
            visit(node)
    return found


def part(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def test_no_circle_of_modules() -> None:
    graph = import_graph()
    assert len(graph) > 50 and graph[ENGINE] == set()
    assert [sorted(circle) for circle in circles(graph)] == []


def test_imports_go_down() -> None:
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    graph = import_graph()
    parts = {part(module) for module in graph} - {"__main__", "__init__"}
    assert parts <= floor.keys(), f"on which of the FLOORS is {sorted(parts - floor.keys())}?"
    up = [
        f"{module} imports {other}"
        for module, others in graph.items()
        for other in others
        if part(module) in parts
        and part(module) != part(other)
        and (part(other) not in parts or floor[part(module)] <= floor[part(other)])
    ]
    assert sorted(up) == []


def test_few_floors() -> None:
    assert len(FLOORS) <= 10


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert circles(graph) == {frozenset("abc"), frozenset("de")}


def test_every_kind_of_import_counts(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("""if TYPE_CHECKING:
    from ..a import b
def f():
    from . import c
    import sparsexmc.d.e
""")
    expected = {"sparsexmc.a.b", "sparsexmc.p.c", "sparsexmc.d.e"}
    assert set(imported_names("sparsexmc.p.x", file)) == expected
