"""Data sets: reading and writing the formats of the field, and preparing features.

Formats: a directory of scipy CSR `.npz` files (or `.npy` for dense features), the text file of the extreme
classification repository, its two-file form, and filter files. Nothing is ever unpickled. Malformed files raise
DataError, whose message begins with the file and, for text, the line.
"""

from .dataset import Dataset, Features
from .demo import load_demo
from .directory import load, save
from .prepare import TfIdf, holdout, tfidf
from .text import read_filter, save_text, save_text_pair

__all__ = [
    "Dataset",
    "Features",
    "TfIdf",
    "holdout",
    "load",
    "load_demo",
    "read_filter",
    "save",
    "save_text",
    "save_text_pair",
    "tfidf",
]
