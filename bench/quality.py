"""Quality on real data: ours with defaults against its dense twin and what users pick today, on the same arrays.

Pass data directories that ``sparsexmc.data.load`` reads, each with a test part. Every contender runs in a process of
its own; what is done already (in ``--work``) is not done again, so a run that was stopped goes on. Hyper-parameters are
the tools' defaults, and ours: the test part is read for prediction alone. Rows are means over the seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import common
from contenders import environment
from contenders.ours import VARIANTS
from contenders.scores import scores_of_run

ALONE = "-alone"
LIMIT = 3600.0  # seconds that a contender may take on a data set


def run(method: str, data: Path, out: Path, args: argparse.Namespace, seed: int) -> str | None:
    """Runs one contender unless its result is there. None, or why there is none."""
    if out.with_name(out.name + ".json").exists():
        return None
    if args.tabulate:
        return "not run"
    reason = (run_ours if method in VARIANTS else run_baseline)(method, data, out, args, seed)
    if args.busy and reason is None:
        for file in out.parent.glob(f"{out.name}*.json"):
            file.write_text(json.dumps(json.loads(file.read_text()) | {"training_seconds": None}, indent=2) + "\n")
    return reason


def run_baseline(method: str, data: Path, out: Path, args: argparse.Namespace, seed: int) -> str | None:
    """As `run`."""
    try:
        environment.run(method, data, out, seed=seed, threads=args.threads, limit=LIMIT)
    except environment.Unavailable as error:
        return str(error)
    return None


def run_ours(method: str, data: Path, out: Path, args: argparse.Namespace, seed: int) -> str | None:
    """As `run`."""
    command = [sys.executable, "-m", "contenders.ours", method, str(data.resolve()), str(out.resolve())]
    options = ["--seed", str(seed), "--threads", str(args.threads)]
    path = os.pathsep.join(filter(None, [str(common.HERE), os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            [*command, *options], capture_output=True, text=True, timeout=LIMIT, env={**os.environ, "PYTHONPATH": path}
        )
    except subprocess.TimeoutExpired:
        return f"stopped after {LIMIT:.0f} s"
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def row(name: str, outs: list[Path], data: Path) -> tuple[dict[str, object], dict[str, object]]:
    """A line of the table, and its figures, by seed."""
    told = [json.loads(out.with_name(out.name + ".json").read_text()) for out in outs]
    scores = [scores_of_run(out, data) for out in outs]
    means = {key: float(np.mean([score[key] for score in scores])) for key in scores[0]}
    line = {"contender": name, **{key: f"{value:.2f}" for key, value in means.items()}}
    line["seeds"] = str(len(outs))
    line["P@1 spread"] = f"{np.ptp([score['P@1'] for score in scores]):.2f}" if len(outs) > 1 else "one seed"
    seconds = [run["training_seconds"] for run in told if run["training_seconds"] is not None]
    line["training s"] = f"{np.mean(seconds):.1f}" if seconds else "busy"
    line["peak memory"] = common.mib(max(run["peak_bytes"] for run in told))
    line["model"] = common.mib(np.mean([run["model_bytes"] for run in told])) if "model_bytes" in told[0] else ""
    layers = {run["settings"].get("output_layer_bytes") for run in told} - {None}
    line["output layer"] = common.mib(max(layers)) if layers else ""
    return line, {"scores": scores, "runs": told}


def main() -> None:
    parser = common.argument_parser(__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", type=Path, help="data directories with a test part")
    parser.add_argument("--contenders", default=",".join([*VARIANTS, *environment.TOOL_OF]), help="(default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument(
        "--work", type=Path, default=common.HERE.parent / "build/quality", help="(default: %(default)s)"
    )
    parser.add_argument("--busy", action="store_true", help="other programs are running: keep no times")
    parser.add_argument("--tabulate", action="store_true", help="run nothing; tables of what --work holds")
    args = parser.parse_args()
    for data in args.data:
        lines, figures, missing = [], {}, []
        for method in args.contenders.split(","):
            outs, reasons = [], []
            for seed in range(args.seeds):
                out = args.work / data.name / f"{method}-{seed}"
                reason = run(method, data, out, args, seed)
                if reason is None:
                    outs.append(out)
                else:
                    reasons.append(reason)
            if not outs or not args.tabulate:
                missing += [f"{method}: {reason}" for reason in dict.fromkeys(reasons)]
            names = {method: outs}
            if method in VARIANTS:
                names[f"{method}, network alone"] = [out.with_name(out.name + ALONE) for out in outs]
            for name, found in names.items():
                if found:
                    line, figures[name] = row(name, found, data)
                    lines.append(line)
                    print(f"{data.name}: {line}", flush=True)
        notes = [
            f"Means of up to {args.seeds} seeds, percent; PSP with A = 0.55, B = 1.5; {args.threads} threads; peak "
            "memory of the process in training or prediction, data included; model: what prediction needs; output "
            "layer: weights, indices and optimizer state in training. Times of runs beside other programs are left out."
        ]
        if missing:
            notes.append("No result: " + "; ".join(missing) + ".")
        common.report(
            f"quality, {data.name}", f"Quality: {data.name}", notes, [lines] if lines else [], figures, args.out
        )


if __name__ == "__main__":
    main()
