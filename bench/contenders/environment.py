"""Their environment, and one baseline run in it; ``python -m contenders.environment`` in bench/ makes the environment.

libpecos stops at SciPy 1.13 and NumPy 1, and pip would bring a CUDA PyTorch for it, so the tools are installed without
their dependencies and those are pinned here. What cannot be installed is skipped, and the reason is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
FOLDER = BENCH.parent / "build/quality-env"
LIBRARIES = """numpy==1.26.4 scipy==1.13.1 scikit-learn==1.9.1 numba==0.68.1 requests==2.34.2
cffi==2.1.1 psutil==7.2.2 six==1.17.0"""
TOOLS = {"libpecos": "1.2.8", "napkinxc": "0.7.2", "omikuji": "0.5.2"}
TOOL_OF = {
    "knn": "scipy",
    "xr-linear": "libpecos",
    "xr-linear-3": "libpecos",
    "napkinxc-plt": "napkinxc",
    "omikuji": "omikuji",
}
LINES_OF_ERROR = 2


class Unavailable(Exception):
    """A baseline that gave no result; the message says why."""


def make() -> dict[str, str]:
    """Makes the environment unless it is there; returns why a tool is missing, by tool. Delete it to try again."""
    kept = FOLDER / "missing.json"
    if not kept.exists():
        venv.create(FOLDER, clear=True, with_pip=True)
        error = _install(*LIBRARIES.split())
        missing = dict.fromkeys({*TOOL_OF.values()}, error) if error else {}
        for tool, version in TOOLS.items():
            if tool not in missing and (error := _install("--no-deps", f"{tool}=={version}")):
                missing[tool] = error
        kept.write_text(json.dumps(missing, indent=2) + "\n")
    return json.loads(kept.read_text())


def run(
    method: str, data: Path, out: Path, *, seed: int = 0, threads: int = 2, limit: float | None = None
) -> dict[str, object]:
    """Runs a baseline of `contenders.baselines` in a process of its own and returns what ``OUT.json`` holds.

    Args:
        limit: seconds after which it is stopped.

    Raises:
        Unavailable: its tool is not installed, or it failed, or it took longer than `limit`.
    """
    if error := make().get(TOOL_OF[method]):
        raise Unavailable(f"{TOOL_OF[method]} cannot be installed: {error}")
    command = [_python(), "-m", "contenders.baselines", method, str(data.resolve()), str(out.resolve())]
    options = ["--seed", str(seed), "--threads", str(threads)]
    libraries = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with tempfile.TemporaryFile("w+") as log:  # not a pipe, which a tool that shows progress would wait for
        try:
            done = subprocess.run(
                [*command, *options],
                cwd=BENCH,
                env={**os.environ, **libraries},
                stdout=log,
                stderr=log,
                timeout=limit,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"stopped after {limit:.0f} s") from None
        if done.returncode != 0:
            log.seek(0)
            raise Unavailable(f"exit status {done.returncode}: {_end(log.read())}")
    return json.loads(out.with_name(out.name + ".json").read_text())


def _python() -> str:
    return str(FOLDER / "bin/python")


def _install(*packages: str) -> str | None:
    """Installs wheels; None, or why not."""
    command = [_python(), "-m", "pip", "install", "--quiet", "--only-binary=:all:", *packages]
    done = subprocess.run(command, capture_output=True, text=True)
    return None if done.returncode == 0 else _end(done.stderr)


def _end(text: str) -> str:
    return " | ".join(text.strip().splitlines()[-LINES_OF_ERROR:])


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    missing = make()
    for tool in TOOLS:
        print(f"{tool}: {missing.get(tool, 'installed')}")
    sys.exit(bool(missing))


if __name__ == "__main__":
    main()
