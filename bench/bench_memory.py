"""Memory of one training step with millions of labels: the plan, the pool's peak, and what the process really took."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

import common
import sparsexmc as sx

POSITIVES = 5  # labels per instance


def main() -> None:
    parser = common.argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=3_000_000, help="L (default: %(default)s)")
    parser.add_argument("--features", type=int, default=768, help="H (default: %(default)s)")
    parser.add_argument("--fan-in", type=int, default=64, help="F (default: %(default)s)")
    parser.add_argument("--group-size", type=int, default=32, help="G (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="B (default: %(default)s)")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((args.batch, args.features), dtype=np.float32)
    columns = np.concatenate([rng.choice(args.labels, POSITIVES, replace=False) for _ in range(args.batch)])
    indptr = np.arange(0, columns.size + 1, POSITIVES)
    y = sp.csr_matrix((np.ones(columns.size, np.float32), columns, indptr), shape=(args.batch, args.labels))

    start = common.start_memory_watch()
    classifier = sx.Classifier(
        in_features=args.features,
        num_labels=args.labels,
        fan_in=args.fan_in,
        group_size=args.group_size,
        dense_labels=0,
        optimizer=sx.SGD(lr=0.05),
        rewiring=None,
        device="cpu",
        batch_size=args.batch,
        num_threads=args.threads,
    )
    loss = classifier.train_step(x, y).loss
    process = common.peak_rss() - start
    planned, pool_peak = classifier.memory.planned, classifier.memory.peak

    print(classifier.memory.table(), end="\n\n")
    rows = [
        {"memory": "planned", "bytes": f"{planned:,}", "size": common.mib(planned)},
        {"memory": "peak of the pool", "bytes": f"{pool_peak:,}", "size": common.mib(pool_peak)},
        {"memory": "peak RSS of the process above its start", "bytes": f"{process:,}", "size": common.mib(process)},
    ]
    dense = 4 * args.labels * (args.features + args.batch)
    notes = [
        f"L = {args.labels:,} labels, H = {args.features}, F = {args.fan_in}, G = {args.group_size}, B = {args.batch}, "
        f"SGD, fp32, {args.threads} threads; loss {loss:,.1f}.",
        f"Dense weights and logits alone would be {common.mib(dense)}.",
    ]
    figures = {"planned": planned, "pool_peak": pool_peak, "peak_rss": process, "loss": loss}
    common.report("memory", "One step with millions of labels: memory", notes, [rows], figures, args.out)
    assert planned == pool_peak, f"the plan says {planned} bytes, the pool took {pool_peak}"


if __name__ == "__main__":
    main()
