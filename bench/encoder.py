"""Does an encoder learn through a sparse output layer? A text encoder under several output layers.

The encoder, an embedding bag trained from nothing or MiniLM fine-tuned (bench/encoders), lies below a dense layer of
PyTorch with autograd and Adam, or an `OutputLayer`: all dense, with a fan-in alone, and with each of the helps that the
literature gives the encoder: a dense segment for frequent labels, a hidden layer, a meta-classifier (Ullah et al.,
NeurIPS 2024). The frozen encoder below a dense layer shows what training it is worth. Encoder, batches, rates and
number of steps are the same for all; rows are means over the seeds. What is done already (in --work) is not done again.

    python bench/encoder.py --out bench/results
    python bench/encoder.py --encoder minilm --out bench/results
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import common
from encoders import bag, layers, minilm
from encoders.problem import CLUSTER, Problem, Settings
from encoders.training import train

DEFAULTS = {"bag": bag.DEFAULTS, "minilm": minilm.DEFAULTS}


def run(problem: Problem, variant: str, seed: int, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The result of one training, from `folder` if it is there."""
    file, settings = folder / f"{variant}-{seed}.json", dataclasses.asdict(problem.settings)
    if file.exists():
        kept = json.loads(file.read_text())
        if kept["settings"] != settings:
            sys.exit(f"{file} was run with {kept['settings']}; name another --work for {settings}")
        return kept
    result = train(problem, variant, seed, args.threads)
    seconds = None if args.busy else result["seconds"]
    print(f"{variant} {seed}: P@1 {result['P@1']:.2f}, {result['seconds']:.1f} s", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")  # a run may be stopped while it writes
    fresh.write_text(json.dumps({"settings": settings} | result | {"seconds": seconds}) + "\n")
    fresh.replace(file)
    return result | {"seconds": seconds}


def row(variant: str, runs: Sequence[dict[str, Any]]) -> dict[str, object]:
    """A line of the table."""
    metrics = [key for key in runs[0] if "@" in key]
    line: dict[str, object] = {"output layer": layers.TITLES[variant]}
    line |= {key: f"{np.mean([run[key] for run in runs]):.1f}" for key in metrics}
    line["P@1 spread"] = f"{np.ptp([run['P@1'] for run in runs]):.1f}" if len(runs) > 1 else "one seed"
    norms = np.mean([run["norms"] for run in runs], axis=0)
    tenth = max(len(norms) // 10, 1)
    line["gradient, first tenth"], line["last tenth"] = (
        f"{np.median(part):.3g}" for part in (norms[:tenth], norms[-tenth:])
    )
    seconds = [run["seconds"] for run in runs if run["seconds"] is not None]
    return line | {"seconds": f"{np.mean(seconds):.1f}" if seconds else "busy"}


def note(problem: Problem, seeds: int) -> str:
    """How it was measured."""
    settings = problem.settings
    tested = "held-out training rows" if settings.held_out else "test rows"
    return (
        f"{problem.about}; the {problem.Y.shape[1]:,} most frequent labels; {settings.steps} steps of "
        f"{settings.batch_size}, Adam with rate {settings.rate:g} for the layer and {settings.encoder_rate:g} for the "
        f"encoder, after {settings.warmup} steps of warm-up decreasing to 0; biases start at {settings.bias}; fan-in "
        f"{layers.fan_in(problem)}, groups of {layers.GROUP}, {100 * layers.DENSE:g} % of the labels dense, hidden "
        f"layer of {layers.hidden_units(problem)}, clusters of {CLUSTER} labels; {problem.Y_test.shape[0]:,} {tested}, "
        f"means of {seeds} seeds, percent. Gradient: norm at the embeddings per instance, medians over steps."
    )


def picture(norms: dict[str, Any], path: Path) -> None:
    """The gradients' norms over the steps, a median over 20 steps each."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, values in norms.items():
        smooth = [np.median(values[max(0, i - 10) : i + 10]) for i in range(len(values))]
        axes.plot(smooth, label=name, linewidth=1.4, color="0.6" if "frozen" in name else None)
    axes.set(xlabel="step", ylabel="norm of the gradient at the encoder, per instance", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def arguments(argv: Sequence[str] | None) -> tuple[argparse.Namespace, Settings]:
    parser = common.argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--encoder", choices=[*DEFAULTS], default="bag", help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--variants", default=",".join(layers.TITLES), help="(default: %(default)s)")
    for name, kind, about in (
        ("labels", int, "the most frequent ones; 0: all"),
        ("steps", int, "of training"),
        ("rate", float, "of the output layer"),
        ("encoder-rate", float, "of the encoder"),
        ("held-out", int, "test on that many training rows instead, to choose rates by"),
    ):
        shown = ", ".join(f"{key} {getattr(value, name.replace('-', '_')):g}" for key, value in DEFAULTS.items())
        parser.add_argument(f"--{name}", type=kind, help=f"{about} (default: {shown})")
    work = common.HERE.parent / "build/encoder"
    parser.add_argument("--work", type=Path, default=work, help="(default: %(default)s)")
    parser.add_argument("--texts", type=Path, help="for minilm, as examples/text reads them (default: made in --work)")
    parser.add_argument("--busy", action="store_true", help="other programs are running: keep no times")
    args = parser.parse_args(argv)
    args.variants = args.variants.split(",")
    unknown = set(args.variants) - set(layers.TITLES)
    if unknown:
        parser.error(f"--variants {','.join(unknown)}: there are {','.join(layers.TITLES)}")
    names = {field.name for field in dataclasses.fields(Settings)}
    given = {key: value for key, value in vars(args).items() if key in names and value is not None}
    return args, dataclasses.replace(DEFAULTS[args.encoder], **given)


def main(argv: Sequence[str] | None = None) -> None:
    args, settings = arguments(argv)
    torch.set_num_threads(args.threads)
    if args.encoder == "bag":
        problem = bag.problem(settings)
    else:
        problem = minilm.problem(settings, args.texts or args.work / "packages")
    name, title = "encoder", "An encoder trained through the output layer"
    if args.encoder != "bag":
        name, title = f"{name}-{args.encoder}", f"{title}: MiniLM"
    if settings.labels != DEFAULTS[args.encoder].labels:
        name, title = f"{name}-{problem.Y.shape[1]}", f"{title}, {problem.Y.shape[1]:,} labels"
    runs: dict[str, list[dict[str, Any]]] = {variant: [] for variant in args.variants}
    for seed in range(args.seeds):  # seed by seed, so that what there is when stopped compares all
        for variant in args.variants:
            runs[variant].append(run(problem, variant, seed, args.work / name, args))
    means = {layers.TITLES[variant]: np.mean([run["norms"] for run in done], axis=0) for variant, done in runs.items()}
    figures = {
        layers.TITLES[variant]: {
            "runs": [{key: value for key, value in run.items() if key not in ("norms", "settings")} for run in done],
            "norms": " ".join(f"{norm:.3g}" for norm in means[layers.TITLES[variant]]),
        }
        for variant, done in runs.items()
    }
    lines = [row(variant, done) for variant, done in runs.items()]
    common.report(name, title, [note(problem, args.seeds)], [lines], figures, args.out)
    if args.out is not None:
        picture(means, args.out / f"{name}.png")


if __name__ == "__main__":
    main()
