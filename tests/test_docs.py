"""The documentation: every snippet runs, every link leads somewhere, and no page is missing from the site."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import shutil
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsexmc as sx
from doc_pages import DOCS, PAGES, ROOT, Block, anchors, blocks, name, pages_with, prose
from sparsexmc.cli import build_parser
from sparsexmc.model import settings, toml

FRAMEWORKS = {"cupy", "jax", "matplotlib", "sklearn", "torch"}
LINK = re.compile(r"\]\(([^)\s]+)\)")
REFERENCE = re.compile(r"^::: ([\w.]+)$", re.M)
COMMAND = re.compile(r"^\$ (.+)$", re.M)
TRAIN, TEST = 1_500, 500  # instances of the built-in data set that snippets get to see here

parametrize = pytest.mark.parametrize


@pytest.fixture(scope="module")
def cut() -> sx.data.Dataset:
    """The first instances of the built-in data set with their features: snippets that train on it take a second."""
    data = sx.data.load_demo()
    assert data.X_test is not None and data.Y_test is not None
    X = data.X[:TRAIN]
    known = np.flatnonzero(np.bincount(X.indices))
    return replace(
        data, X=X[:, known], Y=data.Y[:TRAIN], X_test=data.X_test[:TEST, known], Y_test=data.Y_test[:TEST],
        instance_names=None, test_instance_names=None,
    )  # fmt: skip


def frameworks(tree: ast.AST) -> set[str]:
    """Optional packages that some code imports, directly or through an adapter such as sparsexmc.torch."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Attribute) and node.attr == "TextVectorizer":  # which imports it when it is needed
            names.add("sklearn")
    return {part for dotted in names for part in dotted.split(".")} & FRAMEWORKS


@parametrize("page", pages_with("python"), ids=name)
def test_python_runs(
    page: Path,
    cut: sx.data.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All blocks of a page, one after another like the cells of a notebook; where it says what one prints, it does."""
    found = blocks(page)
    for framework in set().union(*(frameworks(ast.parse(b.code)) for b in found if b.language == "python")):
        pytest.importorskip(framework)
        if framework == "cupy" and not importlib.import_module("cupy").is_available():
            pytest.skip("CuPy needs a GPU")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sx.data, "load_demo", lambda: cut)
    scope: dict[str, Any] = {"__name__": "snippet"}
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block.language == "python":
            lines = "\n" * (block.line - 1)  # so that a traceback names the line of the page
            exec(compile(lines + block.code, str(page), "exec"), scope)
            printed = capsys.readouterr().out
            if isinstance(after, Block) and after.is_output:
                assert printed == after.code


def commands(program: str) -> list[tuple[str, str]]:
    """(page, command line) of every call of a program in a console block."""
    return [
        (name(page), line)
        for page in PAGES
        for block in blocks(page, "console")
        for line in COMMAND.findall(block.code)
        if line.startswith(f"{program} ")
    ]


@parametrize(("page", "line"), commands("sparsexmc"))
def test_command_lines_are_understood(page: str, line: str) -> None:
    args = build_parser().parse_args(shlex.split(line)[1:])
    for override in getattr(args, "set", []):
        settings.check(toml.parse_override(override))


@parametrize(("page", "line"), commands("python"))
def test_scripts_know_their_options(page: str, line: str) -> None:
    script, *options = shlex.split(line)[1:]
    text = (ROOT / script).read_text()
    for option in options:
        assert not option.startswith("--") or f'"{option}"' in text


@parametrize("page", pages_with("toml"), ids=name)
def test_configurations_are_valid(page: Path) -> None:
    for block in blocks(page, "toml"):
        settings.check(toml.normalise(tomllib.loads(block.code)))


@parametrize("page", pages_with("cpp"), ids=name)
def test_cpp_compiles(page: Path, tmp_path: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    for block in blocks(page, "cpp"):
        source = tmp_path / f"{page.stem}{block.line}.cpp"
        source.write_text(block.code)
        flags = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT / 'cpp/include'}"]
        subprocess.run([compiler, *flags, str(source)], check=True)


@parametrize("page", PAGES, ids=name)
def test_links_resolve(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file() and target.is_relative_to(DOCS), f"{name(page)}: no {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)}: {path or name(page)} has no heading #{anchor}"


@parametrize("page", sorted(set(DOCS.glob("design/*.md")) - {DOCS / "design/seams.md"}), ids=name)
def test_design_pages_name_files_that_exist(page: Path) -> None:
    """Of the sources, so that a page does not outlive what it explains. The seams name files that are still to come."""
    named = re.findall(r"`((?:cpp|python|tests|bench|scripts|examples)/[\w./-]+\.\w+)`", page.read_text())
    assert [file for file in named if not (ROOT / file).is_file()] == []


def test_navigation_lists_every_page_once() -> None:
    listed = re.findall(r"[\w./-]+\.md", (ROOT / "mkdocs.yml").read_text())
    assert sorted(listed) == sorted(map(name, PAGES))


def test_determinism_is_tested() -> None:
    """Every line of the table says how much stays the same, and names a test that is there."""
    lines = [line for line in (DOCS / "determinism.md").read_text().splitlines() if line.startswith("| ")][1:]
    assert len(lines) > 20
    for line in lines:
        _, _, verdict, cited, _ = re.split(r" ?\| ?", line)
        assert verdict in ("same bits", "to rounding"), line
        file, _, function = cited.strip("`").partition("::")
        tree = ast.parse((ROOT / file).read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert function.startswith("test_") and function in functions, line


def test_results_of_every_machine_are_shown() -> None:
    shown = set(re.findall(r"bench/results/[\w.-]+", (DOCS / "results.md").read_text()))
    assert shown == {f"bench/results/{file.name}" for file in (ROOT / "bench/results").glob("*.md")}


@parametrize("page", [page for page in PAGES if REFERENCE.search(page.read_text())], ids=name)
def test_reference_names_exist(page: Path) -> None:
    for dotted in REFERENCE.findall(page.read_text()):
        for framework in FRAMEWORKS & set(dotted.split(".")):
            pytest.importorskip(framework)
        module, _, attribute = dotted.rpartition(".")
        try:
            found: Any = importlib.import_module(dotted)
        except ModuleNotFoundError:
            found = getattr(importlib.import_module(module), attribute)
        assert found.__doc__


def test_reference_has_all_that_is_public() -> None:
    listed = {dotted.rpartition(".")[2] for page in PAGES for dotted in REFERENCE.findall(page.read_text())}
    modules = {"errors", "report", "__version__"}  # what they hold is listed one by one
    assert set(sx.__all__) - modules - listed == set()
    assert set(sx.data.__all__) - {"Features"} - listed == set()
