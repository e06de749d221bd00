"""A training gives what it gave in version 0.1, hit for hit: reshaping the library must not change what it computes.

Expected hits were counted with the command line of version 0.1.0. The kernels run at the level v2, which has no fused
multiply-add and the same bits on every x86-64 processor.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

TRAINING = """
import json, sys
import numpy as np
import sparsexmc as sx
from sparsexmc.data.demo import DEMO_DIRECTORY

demo = sx.data.load(DEMO_DIRECTORY)
frequent = np.sort(np.argsort(-demo.label_counts, kind="stable")[:2500])
data = sx.data.Dataset(
    demo.X[:4200], demo.Y[:4200][:, frequent], X_test=demo.X_test[:600], Y_test=demo.Y_test[:600][:, frequent]
)
settings = {
    "model": {"hidden": 64, "dense_labels": 200, "num_threads": 2} | json.loads(sys.argv[1]),
    "training": {"epochs": 3, "validation": 0.1},
}
model = sx.train(data, settings=settings, progress=False)
P = model.evaluate(data, cutoffs=(1, 3, 5))["P"]
print(json.dumps([round(P[k] * k * data.Y_test.shape[0], 6) for k in (1, 3, 5)]))
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the hits are those of x86-64")
@pytest.mark.parametrize(
    ("model", "hits"),
    [({}, [388, 806, 977]), ({"rewiring": {"method": "rigl"}}, [393, 809, 984])],
    ids=["plain", "rigl"],
)
def test_hits_of_version_0_1(model: dict[str, object], hits: list[int]) -> None:
    environment = os.environ | {"SPARSEXMC_CPU_ISA": "v2"}
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, json.dumps(model)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == hits
