"""Running the command line inside a test."""

from __future__ import annotations

import pytest

from sparsexmc.cli import main


def run(*arguments: object) -> int:
    """The exit code of the command."""
    return main([str(argument) for argument in arguments])


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Runs a command that must fail with exit code 2 and one line on stderr, which is returned."""
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("sparsexmc: error: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error
