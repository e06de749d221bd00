"""A user's script, which `mypy --strict` and pyright must accept as it is; tests/test_typing.py runs both, and it."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

import sparsexmc as sx
from sparsexmc.torch import OutputLayer

LABELS = 20


class StopEarly(sx.Callback):
    """Stops once the training loss is small enough."""

    def __init__(self, loss: float) -> None:
        self.loss = loss

    def on_epoch(self, classifier: sx.Classifier, info: sx.EpochInfo) -> bool:
        return info.loss < self.loss


def train(X: npt.NDArray[np.float32], Y: sp.csr_matrix, folder: Path) -> sx.Classifier:
    clf = sx.Classifier(
        X.shape[1],
        LABELS,
        fan_in=8,
        group_size=4,
        dense_labels=0.1,
        optimizer=sx.Adam(lr=0.01),
        rewiring=sx.Rewiring(method="set", interval=10, stop=40),
        batch_size=32,
        device="cpu",
    )
    out = clf.train_step(X[:32], Y[:32])
    loss: float = out.loss
    history: sx.History = clf.fit(X, Y, epochs=3, callbacks=[StopEarly(0.1)], progress=False)
    epochs: list[sx.EpochInfo] = history.epochs
    print(f"loss {loss:.2f}, then {epochs[-1].loss:.2f}; {clf.memory.planned:,} bytes")
    clf.save(folder / "model")
    loaded: sx.Model | sx.Classifier = sx.load(folder / "model", device="cpu")
    assert isinstance(loaded, sx.Classifier)
    return loaded


def train_model(data: sx.data.Dataset) -> dict[str, dict[int, float]]:
    model: sx.Model = sx.train(data, epochs=2, device="cpu", settings={"model": {"hidden": 8}}, progress=False)
    named: list[list[tuple[str | int, float]]] = model.predict(data.X, k=3)
    print(named[0])
    return model.evaluate(data)


def evaluate(clf: sx.Classifier, X: npt.NDArray[np.float32], Y: sp.csr_matrix) -> float:
    scores, ids = clf.topk(X, k=5)
    best: npt.NDArray[np.int64] = ids[:, 0]
    highest: npt.NDArray[np.float32] = scores[:, 0]
    p: float = sx.metrics.precision_at_k(ids, Y, k=1)
    several: npt.NDArray[np.float64] = sx.metrics.ndcg_at_k(ids, Y, k=(1, 3, 5))
    psp: float = sx.metrics.psp_at_k(ids, Y, 5, inverse_propensities=sx.metrics.inverse_propensities(Y))
    sums = sx.metrics.RankingMetrics(LABELS, k=(1, 5))
    sums.update(ids, Y)
    by_name: dict[str, float] = sums.compute()
    print(best[:3], highest[:3], several.mean(), psp, by_name["P@1"])
    return p


def ensemble(X: npt.NDArray[np.float32], Y: sp.csr_matrix, clf: sx.Classifier) -> npt.NDArray[np.int64]:
    neighbors = sx.Neighbors(X, Y, sx.Votes(count=10, weight=0.3))
    together = sx.Ensemble(clf, neighbors=neighbors)
    tried = together.tune(X[:50], Y[:50])
    print(max(tried.values()))
    return together.topk(X, 3)[1]


def train_encoder(X: npt.NDArray[np.float32], Y: sp.csr_matrix) -> float:
    encoder = torch.nn.Linear(X.shape[1], 16)
    layer = OutputLayer(16, LABELS, fan_in=8, group_size=4, batch_size=32, device="cpu")
    optimizer = torch.optim.Adam(encoder.parameters())
    loss: torch.Tensor = layer(encoder(torch.from_numpy(X[:32])), Y[:32])
    loss.backward()
    optimizer.step()
    rate: float = layer.fused_optimizer.lr
    scores, ids = layer.eval().topk(encoder(torch.from_numpy(X)), 3)
    print(scores.shape, ids.shape, rate)
    return loss.item()


def main(folder: Path) -> float:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 24), dtype=np.float32)
    Y = sp.csr_matrix(X[:, :LABELS] > 1.0)
    data = sx.data.Dataset(X=X, Y=Y)
    clf = train(X, data.Y, folder)
    plan: sx.MemoryPlan = sx.plan(768, 1_000_000, fan_in=32, device="cpu")
    print(f"{plan.total:,} bytes", ensemble(X, Y, clf).shape, train_encoder(X, Y), train_model(data)["P"])
    return evaluate(clf, X, Y)
