"""Contenders on real data, all measured alike: what users pick today, and our classifier.

A contender runs on one data set in a process of its own (`contender.measure`) and leaves two files: ``OUT.npz`` with
the predicted label ids [n_test, 5] int64, best first, -1 where it predicts nothing, and ``OUT.json`` with what it took.
The baselines run in an environment of their own (`environment.run`), so what they share with ours knows no sparsexmc.
"""
