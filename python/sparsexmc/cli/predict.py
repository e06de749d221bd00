"""Write the best labels of every instance, best first: as text one line an instance.

A line is name:score, name:score, ... separated by tabs; without names, or with --ids, id:score,id:score,... Scores are
the sums of `sparsexmc.Ensemble`, or logits where the model is a network alone or --label-weights are given; with
--probabilities or --threshold they are probabilities, learned from the instances that were held out of the training. A
file that ends in .jsonl gets an object per instance: its number from 0, its name if the data has names, "labels" and
"scores"; one that ends in .csv a row per label, below a header; one that ends in .npz a scipy CSR matrix of scores
[instances, labels]. DATA may also be one matrix of features (.npz or .npy), or, for a model of raw text, a file of
texts: .jsonl, .tsv, .csv, fastText's, or one text per line. All but arrays may be packed (.gz, .xz). "-" is standard
input: texts one per line or JSON lines, or for other models lines of features. Pairs of the data's filter file or of
--filter are blanked before ranking; a line is shorter where too few labels are left.

  sparsexmc predict article-model new.jsonl -o predictions.jsonl
  cut -f 2 articles.tsv | sparsexmc predict article-model - -k 3
"""

from __future__ import annotations

import argparse
import sys

from .._checks import DEFAULT_K, ranked_labels
from .._files import atomic_file, check_output
from ..model.evaluation import rankings
from ..model.probabilities import CalibratedRanker
from . import inputs, label_weights, predictions
from .errors import UsageError
from .numbers import whole_number

STANDARD_OUTPUT = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model directory")
    inputs.add_data_arguments(parser)
    parser.add_argument(
        "-k", type=whole_number, metavar="K", help=f"labels per instance (default {DEFAULT_K}, or all if fewer)"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help=".jsonl, .csv, .npz for a CSR matrix, else text; default -: the terminal"
    )
    parser.add_argument("--format", choices=predictions.FORMS, help="whatever the name of FILE ends in")
    parser.add_argument("--ids", action="store_true", help="label ids, even where the model knows names")
    inputs.add_model_arguments(parser)
    label_weights.add_argument(parser)
    parser.add_argument("--probabilities", action="store_true", help="probabilities in place of scores")
    parser.add_argument(
        "--threshold",
        type=_threshold,
        metavar="P",
        help="leave out labels of a lower probability; best: that with the best micro-F1 on held-out instances",
    )


def run(args: argparse.Namespace) -> int:
    if args.output == STANDARD_OUTPUT:
        args.output = None
    form = args.format or predictions.form_of(args.output)
    if args.output is not None:
        check_output("--output", args.output)
    elif form == "npz":
        raise UsageError("--format npz is for files; name one with -o FILE")
    model = inputs.load_model(args.model, args.threads, args.device)
    names = None if args.ids else model.label_names
    X, blanked, instances = inputs.unlabelled(inputs.source_of(args), model, demo=args.demo, filter_file=args.filter)
    X = inputs.features_of(model, X, args.model)
    k = ranked_labels(args.k, model.num_labels)
    weights = label_weights.label_weights(args.label_weights, model)
    ranker = model.ranker(args.network_alone)
    if args.probabilities or args.threshold is not None:
        if weights is not None:
            raise UsageError("--label-weights rank by another quantity than probability; leave one of them out")
        batches = rankings(CalibratedRanker(ranker, model.calibrations, args.threshold), X, k, blanked)
    else:
        batches = rankings(ranker, X, k, blanked, label_weights=weights)
    if args.output is None:
        sys.stdout.writelines(predictions.lines(form, batches, names, instances))
        return 0
    try:
        with atomic_file(args.output, "--output") as file:
            if form == "npz":
                predictions.save_matrix(file, batches, model.num_labels)
            else:
                file.writelines(line.encode() for line in predictions.lines(form, batches, names, instances))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"{args.output}: cannot be written: {why}") from None
    return 0


def _threshold(text: str) -> float | str:
    if text == "best":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number in [0, 1] nor best") from None
