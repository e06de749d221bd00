"""Every instruction set of the CPU kernels, chosen by SPARSEXMC_CPU_ISA in a process of its own."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

NEEDED_FLAGS = {  # of /proc/cpuinfo, beyond those of the level below (x86-64 psABI)
    "v2": {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"},
    "v3": {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"},
    "v4": {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"},
    "amx": {"amx_bf16", "amx_int8", "amx_tile", "avx512_bf16"},
}
LEVELS = list(NEEDED_FLAGS)
# One case for every fast path, every loss and optimizer, both index widths and both kinds of hidden layer.
SUBSET = (
    "dense_hinge or g1_large or g1_adam or g3_padding or g16_large or g17_odd or g32_adam or g64_hinge_adam or wide_g1 "
    "or two_segments_hinge or hidden_dropout or sparse_dropout"
)


def run(level: str, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"SPARSEXMC_CPU_ISA": level}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)


def missing_flags(level: str) -> set[str]:
    """Features of a level that this CPU lacks."""
    flags = set(re.search(r"^flags\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[1].split())
    return set().union(*(NEEDED_FLAGS[known] for known in LEVELS[: LEVELS.index(level) + 1])) - flags


def is_available(level: str) -> bool:
    return platform.machine() in ("x86_64", "AMD64") and not missing_flags(level)


def skip_unless_available(level: str) -> None:
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("levels of x86-64")
    if missing := missing_flags(level):
        pytest.skip(f"this CPU lacks {sorted(missing)}")


@pytest.mark.parametrize("level", LEVELS)
def test_level_follows_the_oracle(level: str) -> None:
    skip_unless_available(level)
    done = run(level, "-c", "import sparsexmc._core as core; print(core.cpu_level())")
    assert ("AMX" if level == "amx" else f"x86-64-{level}") in done.stdout, done.stderr
    here = Path(__file__).parent
    files = [str(here / f"test_{name}.py") for name in ("step", "instance_weights", "topk", "rewiring", "neighbors")]
    rewiring = "(rewiring_follows and layer or rigl_weighs) and (g1_adam or g17_odd or weighted_g17)"
    neighbors = "dense_search_at_odd_sizes"
    chosen = f"((steps_follow or in_bfloat16) and ({SUBSET})) or exact_order or ({rewiring}) or {neighbors}"
    done = run(level, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout and "skipped" not in done.stdout


def test_matrix_units_add_as_vectors_do() -> None:
    """Products in bfloat16 have the same bits with the matrix units and without them."""
    skip_unless_available("amx")
    code = """if True:
        import hashlib
        import numpy as np
        import sparsexmc as sx
        rng, digest = np.random.default_rng(5), hashlib.sha256()
        for features, labels, fan_in, group_size, dense, batch in [
            (70, 500, 7, 16, 40, 33), (256, 900, 32, 16, 160, 300), (65, 300, 17, 5, 0, 1), (33, 70, 33, 24, 33, 100)
        ]:
            classifier = sx.Classifier(features, labels, fan_in=fan_in, group_size=group_size, dense_labels=dense,
                                       batch_size=batch, optimizer=sx.Adam(), compute_dtype="bfloat16", device="cpu")
            for _ in range(3):
                x = rng.standard_normal((batch, features), dtype=np.float32)
                digest.update(classifier.train_step(x, rng.integers(0, labels, batch)).grad.tobytes())
            for value in classifier.state_dict().values():
                digest.update(np.asarray(value).tobytes())
        print(digest.hexdigest())
    """
    with_units, without = run("amx", "-c", code), run("v4", "-c", code)
    assert with_units.returncode == 0, with_units.stderr
    assert with_units.stdout == without.stdout


@pytest.mark.slow
def test_levels_agree_to_rounding(tmp_path: Path) -> None:
    """Levels have bits of their own: a training that goes on at another one ends where it would have, to rounding."""
    code = """if True:
        import sys
        import numpy as np
        import sparsexmc as sx
        goes_on, folder = sys.argv[1], sys.argv[2]
        if goes_on:
            classifier = sx.load(goes_on, device="cpu")
        else:
            classifier = sx.Classifier(65, 500, fan_in=17, group_size=16, dense_labels=40, hidden=48, batch_size=33,
                                       rewiring=None, optimizer=sx.SGD(0.05), compute_dtype="float32", device="cpu")
        rng = np.random.default_rng(5)
        for step in range(6):
            x, labels = rng.standard_normal((33, 65), dtype=np.float32), rng.integers(0, 500, 33)
            if step == 3 and not goes_on:
                classifier.save(folder + "/half")
            if step >= 3 or not goes_on:
                classifier.train_step(x, labels)
        state = classifier.state_dict()
        np.savez(folder + "/end.npz", **{name: value for name, value in state.items() if np.ndim(value)})
    """
    levels = [level for level in ("v2", "v3", "v4") if is_available(level)]
    if len(levels) < 2:
        pytest.skip("one level")
    for level in levels:
        (tmp_path / level).mkdir()
        assert (done := run(level, "-c", code, "", str(tmp_path / level))).returncode == 0, done.stderr
    ends = [tmp_path / level / "end.npz" for level in levels]
    for half, level in [*pairwise(levels), *pairwise(levels[::-1])]:
        (folder := tmp_path / f"{half}-{level}").mkdir()
        assert (done := run(level, "-c", code, str(tmp_path / half / "half"), str(folder))).returncode == 0, done.stderr
        ends.append(folder / "end.npz")
    first = np.load(ends[0])
    for end in map(np.load, ends[1:]):
        assert set(end) == set(first)
        for name in first:
            np.testing.assert_allclose(end[name], first[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("value", ["v9", "avx2", "V3 "])
def test_unknown_level_is_named(value: str) -> None:
    code = "import sparsexmc as sx; sx.Classifier(4, 4, fan_in=2, device='cpu')"
    done = run(value, "-c", code)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "SPARSEXMC_CPU_ISA" in last and value in last and "v2" in last
