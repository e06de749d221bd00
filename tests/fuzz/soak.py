"""Random training and serving in one process for a long time: memory of process and pool must stay flat.

    python tests/fuzz/soak.py [--minutes 60] [--seed 0] [--slack 16]

Two classifiers live as long as the process, are trained with batches of any size, asked by three threads meanwhile,
evaluated, saved, loaded back and rewired; between them a random life begins and ends: another classifier, a training
with states, a whole model, linear classifiers, neighbors, a vectorizer, wrong arguments. After every round the pools
must hold what was planned; after a quarter of the time resident memory may grow by --slack MiB. The exit code is 1 if
it grows more, or if anything is not as it must be.
"""

from __future__ import annotations

import argparse
import copy
import gc
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import scipy.sparse as sp

import sparsexmc as sx

FEATURES, LABELS = 96, 3_000
MIB = 2**20


def batch(random: Random, rows: int, features: int = FEATURES, labels: int = LABELS) -> tuple[Any, sp.csr_matrix]:
    """Embeddings and labels, rows without labels among them."""
    numbers = np.random.default_rng(random.getrandbits(32))
    Y = sp.random(rows, labels, 2.5 / labels, "csr", np.float32, numbers)
    return numbers.standard_normal((rows, features), dtype=np.float32), Y


def random_classifier(random: Random) -> sx.Classifier:
    group = random.choice((1, 16, 32))
    return sx.Classifier(
        FEATURES,
        LABELS,
        fan_in=random.choice((8, 24, None)),
        group_size=group,
        dense_labels=random.choice((0, 100)),
        hidden=random.choice((None, sx.Hidden(64, dropout=0.2))),
        loss=random.choice(("bce", "squared_hinge")),
        optimizer=random.choice((sx.SGD(lr=1e-4, momentum=0.9), sx.Adam(lr=1e-3))),
        rewiring=random.choice((None, sx.Rewiring(interval=3), sx.Rewiring(method="rigl", interval=4))),
        batch_size=random.choice((1, 33, 128)),
        num_threads=random.choice((1, 2)),
        seed=random.getrandbits(16),
    )


def train(random: Random, classifier: sx.Classifier, steps: int) -> None:
    for _ in range(steps):
        X, Y = batch(random, random.randint(1, classifier.config["batch_size"]))
        out = classifier.train_step(X, Y)
        assert np.isfinite(out.loss) and np.asarray(out.grad).shape == X.shape


def rank(random: Random, classifier: sx.Classifier) -> None:
    scores, ids = classifier.topk(batch(random, random.randint(1, 200))[0], random.randint(1, 20))
    assert (np.diff(scores, axis=1) <= 0).all() and ids.min() >= 0


def another_classifier(random: Random, _: Path) -> None:
    classifier = random_classifier(random)
    train(random, classifier, random.randint(1, 12))
    rank(random, copy.deepcopy(classifier))
    classifier.load_state_dict(classifier.state_dict())
    X, Y = batch(random, 1)
    classifier.eval_step(X, Y)
    assert classifier.memory.peak <= classifier.memory.planned


def training_with_states(random: Random, folder: Path) -> None:
    classifier = random_classifier(random)
    X, Y = batch(random, 300)
    options = {"validation": 0.2, "checkpoint": folder / "best", "checkpoint_every": 2, "progress": False}
    classifier.fit(X, Y, 2, **options)
    rank(random, sx.load(folder / "best"))


def whole_model(random: Random, folder: Path) -> None:
    rows = 200
    X = sp.random(rows, 500, 0.03, "csr", np.float32, random.getrandbits(32))
    _, Y = batch(random, rows, labels=80)
    model = sx.train(sx.data.Dataset(X, Y), settings={"training": {"epochs": 1}}, progress=False)
    model.save(folder / "model")
    again = sx.load(folder / "model")
    assert np.array_equal(again.topk(X, 5)[1], model.topk(X, 5)[1])
    again.evaluate(X, Y)


def parts(random: Random, folder: Path) -> None:
    X = sp.random(200, 500, 0.03, "csr", np.float32, random.getrandbits(32))
    _, Y = batch(random, 200, labels=80)
    sx.data.TextVectorizer.fit(["one two", "two three"] * 20).counts(["two", "", "four"])
    sx.cluster_labels(X, Y, 16, seed=random.getrandbits(16))
    sx.metrics.RankingMetrics(80, 3).update(np.tile(np.arange(5), (200, 1)), Y)


def wrong_arguments(random: Random, folder: Path) -> None:
    classifier = random_classifier(random)
    X, Y = batch(random, 1)
    calls: list[Callable[[], object]] = [
        lambda: classifier.train_step(np.full_like(X, np.nan), Y),
        lambda: classifier.train_step(X[:, :5], Y),
        lambda: classifier.topk(X, LABELS + 1),
        lambda: sx.load(folder / "nothing"),
        lambda: sx.Classifier(FEATURES, LABELS, memory_limit=1000),
    ]
    for call in calls:
        try:
            call()
        except sx.Error:
            continue
        raise AssertionError("accepted")


LIVES = (another_classifier, training_with_states, whole_model, parts, wrong_arguments)


def resident() -> float:
    """MiB of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slack", type=float, default=16.0, help="MiB that resident memory may grow")
    args = parser.parse_args()
    random = Random(args.seed)
    start, end = time.monotonic(), time.monotonic() + 60 * args.minutes
    lasting = [random_classifier(random), random_classifier(random)]
    held = [classifier.memory.current for classifier in lasting]
    rounds, done, faults = 0, Counter[str](), list[BaseException]()
    stop = threading.Event()

    def serve(seed: int) -> None:
        own = Random(seed)
        try:
            while not stop.is_set():
                rank(own, own.choice(lasting))
                done["asked"] += 1
                time.sleep(0.01)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=serve, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    baseline, shown = None, start
    try:
        while time.monotonic() < end and not faults:
            for classifier in lasting:
                train(random, classifier, 3)
            life = random.choice(LIVES)
            with tempfile.TemporaryDirectory() as folder:
                life(random, Path(folder))
            done[life.__name__] += 1
            rounds += 1
            for classifier, bytes_held in zip(lasting, held, strict=True):
                assert classifier.memory.current == bytes_held, classifier.memory.table()
                assert classifier.memory.peak <= classifier.memory.planned, classifier.memory.table()
            gc.collect()
            minutes = (time.monotonic() - start) / 60
            if baseline is None and minutes > args.minutes / 4:
                baseline = resident()
            if time.monotonic() > shown:
                print(f"{minutes:6.1f} min {rounds:6d} rounds {resident():8.1f} MiB", flush=True)
                shown += max(60.0, 3 * args.minutes)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    grown = resident() - (baseline or resident())
    print(
        f"{rounds} rounds, {dict(done)}; resident memory {resident():.1f} MiB, grown by {grown:.1f} MiB since a quarter"
    )
    for error in faults:
        print(f"a serving thread: {error!r}")
    return int(bool(faults) or grown > args.slack)


if __name__ == "__main__":
    sys.exit(main())
