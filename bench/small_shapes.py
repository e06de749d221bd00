"""Every kernel of the GPU backend on small, odd shapes, to run under compute-sanitizer. Checks no figures, and needs no
PyTorch, which would slow the sanitizer.

Each case trains two steps, rewires, predicts and reads its state. A case that fails does not stop the others; the exit
code is their number.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from typing import Any

import numpy as np
import scipy.sparse as sp

import sparsexmc as sx

SET = sx.Rewiring(method="set", interval=1)
RIGL = sx.Rewiring(method="rigl", interval=2, grow_batches=2)
ADAM, MOMENTUM = sx.Adam(lr=1e-3), sx.SGD(lr=0.01, momentum=0.9)
# in_features, num_labels, batch, and what is special. Beside the group sizes: tiles, columns and chunks with and
# without a rest, batches that take a cluster, and features that do not fit one block, so that dX and dW are made apart.
CASES: dict[str, dict[str, Any]] = {
    "single labels": {"sizes": (96, 203, 33), "fan_in": 17, "group_size": 1, "rewiring": SET},
    "single labels, Adam": {"sizes": (768, 131, 130), "fan_in": 64, "group_size": 1, "optimizer": ADAM},
    "odd groups": {"sizes": (100, 301, 1), "fan_in": 5, "group_size": 3, "optimizer": MOMENTUM, "rewiring": RIGL},
    "groups of 16, bf16": {"sizes": (768, 1003, 256), "fan_in": 64, "group_size": 16, "weight_dtype": "bfloat16"},
    "groups of 32": {"sizes": (384, 1003, 65), "fan_in": 70, "group_size": 32, "optimizer": ADAM, "rewiring": RIGL},
    "dense and tail": {"sizes": (130, 501, 130), "fan_in": 32, "group_size": 32, "dense_labels": 77},
    "hinge, all dense": {"sizes": (70, 99, 40), "fan_in": None, "loss": "squared_hinge", "rewiring": None},
    "dX and dW apart": {"sizes": (4100, 203, 130), "fan_in": 40, "group_size": 16, "weight_dtype": "bfloat16"},
    "wide indices": {"sizes": (70_000, 65, 33), "fan_in": 32, "group_size": 16, "optimizer": ADAM},
    "hidden layer": {"sizes": (75, 301, 65), "fan_in": 16, "hidden": sx.Hidden(45, dropout=0.3), "optimizer": ADAM},
    "sparse input": {"sizes": (900, 301, 33), "fan_in": 16, "hidden": 40, "sparse_input": True},
}


def run(case: dict[str, Any], device: str) -> None:
    """Two steps, one batch shorter than the last, then prediction and state."""
    options = dict(case)
    features, labels, batch = options.pop("sizes")
    options = {"dense_labels": 0, "optimizer": sx.SGD(lr=0.01), "rewiring": None} | options
    classifier = sx.Classifier(
        features, labels, device=device, batch_size=batch, labels_per_instance=8, topk=5, seed=3, **options
    )
    rng = np.random.default_rng(0)
    for rows in (batch, (batch + 1) // 2):
        indptr = np.arange(0, 4 * rows + 1, 4)
        positives = (indptr, rng.integers(0, labels, 4 * rows))
        if options.get("sparse_input"):
            x: Any = sp.random(rows, features, density=0.02, format="csr", dtype=np.float32, random_state=1)
        else:
            x = rng.standard_normal((rows, features)).astype(np.float32 if rows % 2 else np.float16)
        loss = classifier.train_step(x, positives).loss
        assert np.isfinite(loss), f"loss {loss}"
    _, ids = classifier.topk(x, 5)
    assert ids.min() >= 0 and ids.max() < labels, "label ids out of range"
    state = classifier.state_dict()
    for name, value in state.items():
        if np.asarray(value).dtype.kind == "f":
            assert np.isfinite(value).all(), f"{name} is not finite"
    classifier.load_state_dict(state)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="(default: %(default)s)")
    parser.add_argument("--case", choices=CASES, help="only this one")
    args = parser.parse_args()
    failed = 0
    for name, case in CASES.items():
        if args.case not in (None, name):
            continue
        try:
            run(case, args.device)
            print(f"ok    {name}", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL  {name}\n{traceback.format_exc()}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
