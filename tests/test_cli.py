"""The command line end to end: in process where possible, as a subprocess where signals and pipes matter."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from cli_tools import NUM_LABELS, SMALL, failure, make_split, run, subprocess_command
from sparsexmc.cli import main
from sparsexmc.model import toml as cfg


def write_text(path: Path, X: sp.csr_matrix, Y: sp.csr_matrix) -> None:
    lines = [f"{X.shape[0]} {X.shape[1]} {Y.shape[1]}"]
    for x, y in zip(X, Y, strict=True):
        pairs = " ".join(f"{i}:{v:g}" for i, v in zip(x.indices, x.data, strict=True))
        lines.append(",".join(map(str, y.indices)) + " " + pairs)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of .npz files with label names, and the same data as text files beside it."""
    root = tmp_path_factory.mktemp("data")
    (root / "npz").mkdir()
    for split, instances in (("trn", 400), ("tst", 80)):
        X, Y = make_split(instances, seed=instances)
        sp.save_npz(root / "npz" / f"X_{split}.npz", X)
        sp.save_npz(root / "npz" / f"Y_{split}.npz", Y)
        write_text(root / f"{split}.txt", X, Y)
    (root / "npz" / "labels.txt").write_text("".join(f"label-{i}\n" for i in range(NUM_LABELS)))
    return root


@pytest.fixture(scope="module")
def model(directory: Path) -> Path:
    """A model trained on the .npz directory."""
    path = directory / "model"
    assert main(["train", str(directory / "npz"), "-o", str(path), *SMALL]) == 0
    return path


# ---- train, evaluate, predict, info ----


def test_train_prints_configuration_and_metrics(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", directory / "npz", "-o", tmp_path / "model", *SMALL) == 0
    out = capsys.readouterr().out
    for word in ("[model]", "[training]", "memory", "nDCG", "PSP", "macro-F1", "A = 0.55, B = 1.5"):
        assert word in out
    lines = [json.loads(line) for line in (tmp_path / "model.metrics.jsonl").read_text().splitlines()]
    assert len(lines) >= 12
    stored = cfg.read(tmp_path / "model" / "run.toml")
    assert stored["model"]["hidden"]["features"] == 64
    assert stored["training"]["epochs"] == 12
    assert stored["data"]["tfidf"] is True


def test_stored_configuration_trains_the_same_model(directory: Path, model: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert run("train", directory / "npz", "-o", again, "--config", model / "run.toml", "--no-progress") == 0
    assert (again / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


def test_evaluate(directory: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", model, directory / "npz", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["metrics"]["P"]["1"] > 0.9
    assert report["A"] == 0.55 and report["B"] == 1.5
    assert run("evaluate", model, directory / "npz", "-A", "0.6", "-B", "2.6", "-k", "1", "2") == 0
    out = capsys.readouterr().out
    assert "A = 0.6, B = 2.6" in out
    assert "@2" in out and "@5" not in out


def test_evaluate_text_needs_training_labels_for_propensities(
    directory: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", model, directory / "npz", "--json") == 0
    expected = json.loads(capsys.readouterr().out)["metrics"]
    assert run("evaluate", model, directory / "tst.txt", "--train", directory / "trn.txt", "--json") == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == expected
    assert run("evaluate", model, directory / "tst.txt", "--json") == 0
    assert "PSP" not in json.loads(capsys.readouterr().out)["metrics"]


def test_predict_formats_agree(
    directory: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", model, directory / "tst.txt", "-k", "3", "--ids") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 80
    pairs = [[item.split(":") for item in line.split(",")] for line in lines]
    assert all(len(row) == 3 for row in pairs)
    assert all(float(row[0][1]) >= float(row[1][1]) >= float(row[2][1]) for row in pairs)

    assert run("predict", model, directory / "npz", "-k", "3", "-o", tmp_path / "names.txt") == 0
    named = (tmp_path / "names.txt").read_text().splitlines()
    assert [line.split("\t")[0].rpartition(":")[0] for line in named] == [f"label-{row[0][0]}" for row in pairs]

    assert run("predict", model, directory / "npz", "-k", "3", "-o", tmp_path / "top.npz") == 0
    matrix = sp.load_npz(tmp_path / "top.npz").tocsr()
    assert matrix.shape == (80, NUM_LABELS)
    assert [set(matrix[i].indices) for i in range(80)] == [{int(pair[0]) for pair in row} for row in pairs]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["names.txt", "top.npz"]


def test_info(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", model) == 0
    out = capsys.readouterr().out
    assert "TF-IDF" in out and "verified" in out and "model.safetensors" in out
    assert run("info", model, "--json") == 0
    assert json.loads(capsys.readouterr().out)["config"]["num_labels"] == NUM_LABELS


def test_dense_embeddings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "dense"
    data.mkdir()
    for split, instances in (("trn", 300), ("tst", 50)):
        _, Y = make_split(instances, seed=instances)
        np.save(data / f"X_{split}.npy", Y.toarray().astype(np.float32))
        sp.save_npz(data / f"Y_{split}.npz", Y)
    assert run("train", data, "-o", tmp_path / "m", "--set", "model.optimizer.lr=0.1", "--no-progress") == 0
    assert not cfg.read(tmp_path / "m" / "run.toml")["model"]["sparse_input"]
    assert run("evaluate", tmp_path / "m", data, "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]["P"]["1"] > 0.8


def test_predict_reads_a_matrix_without_labels(
    directory: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", model, directory / "npz") == 0
    expected = capsys.readouterr().out
    assert run("predict", model, directory / "npz" / "X_tst.npz") == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize("lost", ["features.npz", "run.toml", "linear.npz", "labels.txt", "README.md"])
def test_lost_part_is_an_error(
    directory: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    (copy / lost).unlink()
    for command in (("predict", copy, directory / "npz"), ("evaluate", copy, directory / "npz"), ("info", copy)):
        assert lost in failure(capsys, *command)


def test_an_existing_model_is_replaced_on_request(
    directory: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    command = ("train", directory / "npz", "-o", copy, *SMALL, "--seed", 3)
    assert "--force" in failure(capsys, *command)
    assert (copy / "config.json").read_bytes() == (model / "config.json").read_bytes()
    assert run(*command, "--force") == 0
    assert (copy / "config.json").read_bytes() != (model / "config.json").read_bytes()


# ---- configuration ----


@pytest.mark.parametrize(
    ("overrides", "needle"),
    [
        (["model.fanin=32"], "did you mean model.fan_in?"),
        (["modle.fan_in=32"], "did you mean model?"),
        (["model.optimizer.learning_rate=1"], "model.optimizer.learning_rate"),
        (["training.epoch=3"], "did you mean training.epochs?"),
        (["model.fan_in"], "section.key=value"),
        (["model.fan_in=]"], "not a TOML value"),
        (["model.optimizer=lion"], "adam"),
        (["model=3"], "section"),
        (["model.hidden.dropout=2"], "dropout"),
        (["data.tfidf=maybe"], "True, False or"),
        (["training.epochs=many"], "epochs"),
        (["training.validation=all"], "validation"),
        (["model.schedule.warmup_steps=some"], "warmup_steps"),
        (["model.rewiring=set", "model.rewiring.start=soon"], "start"),
        (["model.batch_size=0"], "batch_size"),
        (["model.in_features=7"], "in_features"),
    ],
)
def test_bad_overrides(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], needle: str
) -> None:
    options = [option for override in overrides for option in ("--set", override)]
    assert needle in failure(capsys, "train", directory / "npz", "-o", tmp_path / "m", *options)
    assert not (tmp_path / "m").exists()


def test_bad_config_file(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[model\n")
    command = ("train", directory / "npz", "-o", tmp_path / "m", "--config", file)
    assert "run.toml: not valid TOML" in failure(capsys, *command)
    file.unlink()
    assert "run.toml: no such file" in failure(capsys, *command)


def test_override_values() -> None:
    assert cfg.parse_override("model.fan_in=32") == {"model": {"fan_in": 32}}
    assert cfg.parse_override("model.loss = bce") == {"model": {"loss": "bce"}}
    assert cfg.parse_override('model.device="cuda:1"') == {"model": {"device": "cuda:1"}}
    assert cfg.parse_override("model.hidden=512") == {"model": {"hidden": {"features": 512}}}
    assert cfg.parse_override("model.optimizer.betas=[0.8, 0.9]") == {"model": {"optimizer": {"betas": [0.8, 0.9]}}}


def test_another_optimizer_drops_the_settings_of_the_old_one() -> None:
    base = {"model": {"optimizer": {"name": "adam", "lr": 1.0, "eps": 2.0}}}
    assert cfg.merge(base, cfg.parse_override("model.optimizer=sgd"))["model"]["optimizer"] == {"name": "sgd"}
    assert cfg.merge(base, cfg.parse_override("model.optimizer.lr=3"))["model"]["optimizer"]["eps"] == 2.0


def test_dump_round_trip(tmp_path: Path) -> None:
    config = {
        "model": {"fan_in": "none", "loss": "bce", "optimizer": {"name": "adam", "betas": [0.9, 0.999], "lr": 1e-3}},
        "training": {"epochs": 3, "note": 'a "quoted" \\ and\ttabbed value'},
        "data": {"tfidf": True},
    }
    (tmp_path / "run.toml").write_text(cfg.dump(config))
    assert cfg.read(tmp_path / "run.toml") == config


# ---- errors ----


def test_missing_files(directory: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere" in failure(capsys, "train", tmp_path / "nowhere", "-o", tmp_path / "m")
    assert "nowhere" in failure(capsys, "evaluate", model, tmp_path / "nowhere")
    assert "nowhere" in failure(capsys, "predict", tmp_path / "nowhere", directory / "npz")
    assert "nowhere" in failure(capsys, "info", tmp_path / "nowhere")


def test_unwritable_output_is_found_before_training(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("precious")
    data = tmp_path / "no-such-data"  # never read: the output is checked first
    assert "file" in failure(capsys, "train", data, "-o", tmp_path / "file" / "m")
    assert "no model" in failure(capsys, "train", data, "-o", tmp_path / "other")
    assert "not a directory" in failure(capsys, "train", data, "-o", tmp_path / "file")
    assert (tmp_path / "other" / "thesis.tex").read_text() == "precious"


def test_unwritable_prediction_output(
    directory: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "missing" in failure(capsys, "predict", model, directory / "npz", "-o", tmp_path / "missing" / "out.txt")


def test_wrong_data_for_the_model(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wide.txt").write_text("1 61 40\n3 60:1\n")
    assert "61" in failure(capsys, "predict", model, tmp_path / "wide.txt")
    (tmp_path / "broken.txt").write_text("1 60 40\n3 x:1\n")
    assert "broken.txt:2" in failure(capsys, "predict", model, tmp_path / "broken.txt")


def test_debug_shows_the_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", tmp_path / "nowhere", "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


# ---- plan, doctor, help ----


def test_plan(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("--in-features", 768, "--num-labels", 100_000, "--threads", 2)
    assert run("plan", *sizes, "--fan-in", 64, "--group-size", 32) == 0
    assert "segments" in capsys.readouterr().out
    totals = {}
    for optimizer in ("sgd", "adam"):
        assert run("plan", *sizes, "--optimizer", optimizer, "--json") == 0
        totals[optimizer] = json.loads(capsys.readouterr().out)["total"]
    assert totals["adam"] > totals["sgd"]
    assert run("plan", "--config", model / "run.toml", "--json") == 0
    assert json.loads(capsys.readouterr().out)["total"] > 0
    assert run("plan", *sizes, "--memory-limit", "1MB") == 2
    assert "memory" in capsys.readouterr().err


def test_plan_of_a_trained_model_is_what_it_holds(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sparsexmc as sx

    assert run("plan", "--config", model / "run.toml", "--json") == 0
    assert json.loads(capsys.readouterr().out)["total"] == sx.Classifier.load(model, num_threads=2).memory.planned


def test_plan_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--num-labels" in failure(capsys, "plan", "--in-features", 768)
    assert "fan_in" in failure(capsys, "plan", "--in-features", 8, "--num-labels", 100, "--fan-in", 64)


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor") == 0
    out = capsys.readouterr().out
    for word in ("sparsexmc", "numpy", "scipy", "CPU level", "threads", "CUDA kernels", "CUDA driver", "on cpu"):
        assert word in out


def test_doctor_does_not_import_torch() -> None:
    code = "import sys; from sparsexmc.cli import main; assert main(['doctor']) == 0; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("command", ["", "train", "predict", "evaluate", "convert", "plan", "info", "doctor"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leave:
        main([*command.split(), "--help"])
    assert leave.value.code == 0
    assert "usage: sparsexmc" in capsys.readouterr().out


# ---- signals and pipes ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_keeps_a_whole_model(directory: Path, tmp_path: Path, number: signal.Signals) -> None:
    metrics = tmp_path / "m.metrics.jsonl"
    command = subprocess_command("train", directory / "npz", "-o", tmp_path / "m", *SMALL, "--epochs", 100_000)
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore the signal, and so would their children.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    while not (tmp_path / "m.training" / "run.toml").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, error = process.communicate()
    assert process.returncode == 128 + number, error
    assert ("interrupted" if number == signal.SIGINT else f"ended by {number.name}") in error
    assert "m.training holds the model of the best epoch" in error and "Traceback" not in error
    assert metrics.exists() and not (tmp_path / "m").exists()
    assert run("evaluate", tmp_path / "m.training", directory / "npz") == 0
    assert run("train", directory / "npz", "-o", tmp_path / "m", *SMALL) == 2  # what was saved is not lost unasked
    assert run("train", directory / "npz", "-o", tmp_path / "m", *SMALL, "--force") == 0
    assert not (tmp_path / "m.training").exists()


def test_broken_pipe_is_quiet(directory: Path, model: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = subprocess_command("predict", model, directory / "npz")
    process = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert process.stderr == ""


# ---- demo ----


@pytest.mark.slow
def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--set", "model.hidden=128", "--epochs", "1", "--no-progress"]
    assert run("train", "--demo", "-o", tmp_path / "m", *small) == 0
    out = capsys.readouterr().out
    assert "popular" in out and "libc6" in out
    assert (tmp_path / "m" / "run.toml").exists()
