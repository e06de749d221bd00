"""Data sets: reading and writing the formats of the field, label names, raw text, and preparing features.

Formats: a directory of scipy CSR `.npz` files (or `.npy` for dense features), the text file of the extreme
classification repository, its two-file form, LIBSVM's files without a header, filter files, and raw text as JSON lines,
tab- or comma-separated, of fastText, of the repository, or a text per line. Texts may be packed (.gz, .xz). Nothing is
ever unpickled. Malformed files raise DataError, whose message begins with the file and, for text, the line.
"""

from .dataset import Dataset, Features
from .demo import load_demo
from .directory import load
from .names import align_labels, from_lists, to_names
from .opening import DataPath
from .prepare import TfIdf, holdout, tfidf
from .store import save
from .text import read_filter, save_text, save_text_pair
from .text_files import read_texts
from .texts import TextDataset, load_texts
from .vectorizer import TextVectorizer

__all__ = [
    "DataPath",
    "Dataset",
    "Features",
    "TextDataset",
    "TextVectorizer",
    "TfIdf",
    "align_labels",
    "from_lists",
    "holdout",
    "load",
    "load_demo",
    "load_texts",
    "read_filter",
    "read_texts",
    "save",
    "save_text",
    "save_text_pair",
    "tfidf",
    "to_names",
]
