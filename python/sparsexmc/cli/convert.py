"""Convert a data set from one format into another; numbers come back exactly as float32.

SRC is anything that `sparsexmc train` reads but raw text: a directory of .npz files, a text file of the
extreme-classification repository, its two-file form (name the ..._X_Xf.txt, or the directory), or LIBSVM's. Text files
may be packed (.gz, .xz). DST is a directory:

  npz        X_trn.npz, Y_trn.npz, X_tst.npz, Y_tst.npz (dense features: X_trn.npy)
  text       train.txt, test.txt: a header and a line `label,label feature:value ...` per instance
  text-pair  trn_X_Xf.txt, trn_X_Y.txt, tst_X_Xf.txt, tst_X_Y.txt

Label names (labels.txt), names of instances (names.txt) and filter files come along. DST appears when it is complete.

  sparsexmc convert eurlex_train.txt eurlex/
  sparsexmc convert eurlex/ eurlex-text/ --to text
"""

from __future__ import annotations

import argparse
import os
import time

from .. import data
from ..data.store import check_target
from .errors import UsageError
from .numbers import whole_number
from .tables import human_seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SRC", help="directory or file of a data set")
    parser.add_argument("target", metavar="DST", help="directory to write")
    parser.add_argument("--to", choices=("npz", "text", "text-pair"), default="npz", help="default %(default)s")
    parser.add_argument("--test", metavar="FILE", help="file with the test instances, where SRC is a file")
    parser.add_argument("--index-base", type=whole_number, default=0, metavar="N", help="what LIBSVM files count from")
    parser.add_argument("--force", action="store_true", help="replace DST if it is a data set; never anything else")


def run(args: argparse.Namespace) -> int:
    for path in (args.source, args.test):
        if path is not None and not os.path.exists(path):
            raise UsageError(f"{path}: no such file or directory")
    start = time.perf_counter()
    check_target(args.target, overwrite=args.force, name="DST")
    dataset = data.load(args.source, test=args.test, index_base=args.index_base)
    print(f"{dataset!r}, read in {human_seconds(time.perf_counter() - start)}", flush=True)
    start = time.perf_counter()
    data.save(args.target, dataset, form=args.to, overwrite=args.force)
    print(f"{args.target} written in {human_seconds(time.perf_counter() - start)}")
    return 0
