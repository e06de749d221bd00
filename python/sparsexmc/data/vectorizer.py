"""Token counts of texts, by scikit-learn, with a vocabulary that is kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from .._checks import require_int
from ..errors import ArgumentError, DataError, DTypeError
from .settings import DataSettings, check_text_options

FORMAT = 1


@dataclass(frozen=True)
class TextVectorizer:
    """Turns texts into token counts; `fit` chooses the vocabulary.

    Attributes:
        terms: D distinct terms, words or word n-grams, in the order of the columns.
        ngrams: longest n-gram.
        lowercase: texts are lowercased first.
        token_pattern: regular expression of a word.

    Raises:
        ArgumentError: attributes that are wrong.
    """

    terms: tuple[str, ...]
    ngrams: int = DataSettings.ngrams
    lowercase: bool = DataSettings.lowercase
    token_pattern: str = DataSettings.token_pattern

    def __post_init__(self) -> None:
        check_text_options(self.ngrams, self.lowercase, self.token_pattern)
        if not self.terms or not all(isinstance(term, str) for term in self.terms):
            raise ArgumentError("terms must be texts, and at least one")
        if len(set(self.terms)) != len(self.terms):
            raise ArgumentError("terms holds a term twice; a column belongs to one term")

    @classmethod
    def fit(
        cls,
        texts: Iterable[str],
        *,
        ngrams: int = DataSettings.ngrams,
        min_df: int = DataSettings.min_df,
        max_features: int | None = DataSettings.max_features,
        lowercase: bool = DataSettings.lowercase,
        token_pattern: str = DataSettings.token_pattern,
    ) -> TextVectorizer:
        """The vocabulary of `texts`: terms in at least `min_df` of them, of those the `max_features` commonest, sorted.

        Raises:
            ArgumentError: a wrong option, scikit-learn is missing, or no term is left.
            DTypeError: something in `texts` is no text.
        """
        check_text_options(ngrams, lowercase, token_pattern)
        require_int("min_df", min_df, 1)
        if max_features is not None:
            require_int("max_features", max_features, 1)
        texts = _text_list(texts)
        counter = _count_vectorizer()(
            ngram_range=(1, ngrams), min_df=min_df, lowercase=lowercase, token_pattern=token_pattern
        )
        try:
            counts = counter.fit_transform(texts)
        except ValueError as error:
            raise ArgumentError(f"texts: no vocabulary: {error} min_df={min_df} texts must share a term") from None
        # Not its own max_features, which leaves open which of equally common terms stay.
        commonest = np.argsort(-np.asarray(counts.sum(axis=0)).ravel(), kind="stable")[:max_features]
        terms = counter.get_feature_names_out()[np.sort(commonest)]
        return cls(tuple(terms.tolist()), ngrams, lowercase, token_pattern)

    def counts(self, texts: Iterable[str]) -> sp.csr_matrix:
        """[n, D] token counts as float32 CSR; terms outside the vocabulary are passed over, rows may be empty.

        Raises:
            ArgumentError: scikit-learn is missing.
            DTypeError: something in `texts` is no text.
        """
        texts = _text_list(texts)
        counter = _count_vectorizer()(
            vocabulary={term: column for column, term in enumerate(self.terms)},
            ngram_range=(1, self.ngrams),
            lowercase=self.lowercase,
            token_pattern=self.token_pattern,
        )
        if not len(texts):
            return sp.csr_matrix((0, len(self.terms)), dtype=np.float32)
        return sp.csr_matrix(counter.transform(texts), dtype=np.float32)

    def to_json(self) -> str:
        """Everything as JSON text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> TextVectorizer:
        """Reads what `to_json` wrote; DataError if it is something else."""
        try:
            entries = json.loads(text)
            found = entries.pop("format", None) if isinstance(entries, dict) else None
            if type(found) is not int or found != FORMAT:
                raise ValueError(f"it is no vocabulary of format {FORMAT}")
            return cls(**{**entries, "terms": tuple(entries.get("terms", ()))})
        except (ValueError, TypeError, RecursionError) as error:  # ArgumentError is a ValueError
            raise DataError(f"not a vocabulary as sparsexmc writes it: {error}") from None


def _count_vectorizer() -> Any:
    try:
        from sklearn.feature_extraction.text import CountVectorizer
    except ImportError:
        raise ArgumentError(
            "raw text needs scikit-learn, which is not installed: pip install 'sparsexmc[text]'"
        ) from None
    return CountVectorizer


def _text_list(texts: Iterable[str]) -> Sequence[str]:
    """Texts in any iterable, a generator or a column of a table among them, as a sequence."""
    if isinstance(texts, str):
        raise DTypeError("texts is one text; pass a list of them")
    if not isinstance(texts, Iterable):
        raise DTypeError(f"texts is a {type(texts).__name__}; pass a list of them")
    found = texts if isinstance(texts, list | tuple) else list(texts)
    for row, text in enumerate(found):
        if not isinstance(text, str):
            raise DTypeError(f"texts[{row}] is a {type(text).__name__}, not text; pass str")
    return found
