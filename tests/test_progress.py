"""The display of a running training, and the metrics file that cannot be written."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import sparsexmc as sx
from harness import ON_DEVICE
from sparsexmc.training import metrics_file
from sparsexmc.training.progress import Progress, new_bar
from sparsexmc.training.stages import Stages

COLUMNS = 80
SCORES = {f"{name}@{k}": 0.123456 for name in ("P", "nDCG", "PSP", "PSnDCG") for k in (1, 3, 5, 10, 100)}
SCORES |= {"macro-F1@5": 0.1, "coverage@100": 0.9}
METRICS = ["PSnDCG@1/3/5/10/100", "macro-F1@5", "coverage@100"]


class Terminal(io.StringIO):
    """Standard error of a test, 80 columns wide. Not a fixture: pytest puts its own one in place between the two."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(newline="")
        monkeypatch.setattr(sys, "stderr", self)
        monkeypatch.setenv("COLUMNS", str(COLUMNS))

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """All that was ever shown."""
        return re.split(r"[\r\n]+", re.sub(r"\x1b\[[A-Z]", "", self.getvalue()))


def test_epochs_fit_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the size of Amazon-670K, after a day."""
    terminal = Terminal(monkeypatch)
    progress = Progress(None, 100 * 490_449, 100, 5 * 490_449)
    assert progress._bar is not None
    progress._bar.start_t -= 90_000
    progress.step(100, 191_582, 123456.7, 10**6)
    progress._bar.refresh()
    progress.epoch(100, 191_582, 1.234e-5, 12_345.6, SCORES)
    progress.close()
    lines = terminal.lines()
    assert max(map(len, lines)) < COLUMNS
    shown = next(line for line in lines if "loss 1.235e+05" in line)
    for part in (r"^epoch 100/100: +\d+%\|.{8,}\| ", r"25:00:0\d<\d+:\d\d:\d\d, ", "inst/s, loss"):
        assert re.search(part, shown), (part, shown)
    whole = " ".join(" ".join(lines).split())
    for part in ("step 191582", "loss 1.234e-05", *METRICS, "(A=0.55, B=1.5)", "12,346 instances/s"):
        assert part in whole


def test_stages_of_a_model_fit_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch)
    demo = sx.data.load_demo()
    data = sx.data.Dataset(demo.X[:1500], demo.Y[:1500])
    settings = {
        "model": {"hidden": 32, "label_order": "semantic", "num_threads": 2},
        "training": {"epochs": 1, "validation": 0.1},
        "neighbors": {"space": "tune"},
    }
    sx.train(data, settings=settings)
    lines = terminal.lines()
    assert max(map(len, lines)) < COLUMNS
    for stage in (
        "neighbors, features",
        "neighbors, hidden layer",
        "linear classifiers, round 3",
        "linear classifiers, cost 1",
        "weights of the ensemble",
        "linear classifiers, last round 2",
    ):
        assert any(line.startswith(stage) for line in lines), stage
    finished = {line.partition(":")[0] for line in lines if "100%" in line and not line.startswith("epoch")}
    # No stage more or fewer than was announced.
    assert finished == {"order of the labels", "weights of the ensemble", "neighbors, features"}


def test_stages_that_fail_are_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch)
    with pytest.raises(ZeroDivisionError), Stages(None, 2) as stages:
        stages.begin("first")
        stages.begin("second")
        raise ZeroDivisionError
    assert not any("100%" in line for line in terminal.lines())


def test_nothing_where_nothing_is_wanted(capfd: pytest.CaptureFixture[str]) -> None:
    for mode in (False, None):  # standard error is no terminal
        with Stages(mode, 1) as stages:
            stages.begin("quick")
    assert capfd.readouterr() == ("", "")


def test_sparse_lines_of_stages(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 100, 20))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    with Stages(None, 4) as stages:
        for name in ("a", "b", "c", "d"):
            stages.begin(name)
    assert capfd.readouterr().err.splitlines() == ["b (2 of 4)", "d (4 of 4)"]


@pytest.mark.filterwarnings("error")
def test_notebook_without_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """tqdm warns about missing widgets; lines come in place of the bar, as in a file."""
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    for name in ("tqdm.auto", "tqdm.autonotebook", "tqdm.notebook"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert new_bar(None, 10) is None
    bar = new_bar(True, 10)
    assert bar is not None
    bar.close()


# ---- the metrics file ----


def fit(path: Path) -> sx.History:
    classifier = sx.Classifier(4, 6, fan_in=2, dense_labels=0, rewiring=None, batch_size=4, **ON_DEVICE)
    return classifier.fit(
        np.eye(4, dtype=np.float32), np.arange(4), 3, metrics_file=path, progress=False, validation=None
    )


def test_full_disk_ends_the_metrics_and_not_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    written: list[bytes] = []

    def full(descriptor: int, data: bytes) -> int:
        if b'"epoch": 2' in data:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(data)
        return write(descriptor, data)

    monkeypatch.setattr(metrics_file.os, "write", full)
    path = tmp_path / "log.jsonl"
    assert len(fit(path).epochs) == 3
    (record,) = caplog.records
    assert str(path) in record.message and "No space left" in record.message
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["start", "epoch"]
    assert len(written) == 2  # nothing is tried after that


def test_removed_directory_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "logs" / "log.jsonl"
    path.parent.mkdir()
    log = metrics_file.MetricsFile(path)
    log.write({"event": "start"})
    path.unlink()
    path.parent.rmdir()
    for _ in range(3):
        log.write({"event": "step"})
    log.close()
    (record,) = caplog.records
    assert str(path) in record.message and "removed" in record.message


def test_a_path_that_cannot_be_written_is_an_error_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(sx.ArgumentError, match="metrics_file="):
        fit(tmp_path / "missing" / "log.jsonl")
