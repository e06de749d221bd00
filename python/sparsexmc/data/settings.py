"""How the features of a data set are prepared: TF-IDF, and for raw text its vocabulary."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .._checks import require_int
from ..errors import ArgumentError

TOKEN_PATTERN = r"(?u)\b\w\w+\b"
"""scikit-learn's own: words of two or more letters, digits or underscores."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Preparation of features; all fields but `tfidf` are arguments of `TextVectorizer.fit`, which explains them.

    Attributes:
        tfidf: weigh token counts; "auto": if the features are sparse whole numbers of at least 1.
    """

    tfidf: bool | str = "auto"
    ngrams: int = 1
    min_df: int = 2
    max_features: int | None = 200_000
    lowercase: bool = True
    token_pattern: str = TOKEN_PATTERN

    def __post_init__(self) -> None:
        if not (isinstance(self.tfidf, bool) or (isinstance(self.tfidf, str) and self.tfidf == "auto")):
            raise ArgumentError(f'data.tfidf={self.tfidf!r} must be True, False or "auto"')
        check_text_options(self.ngrams, self.lowercase, self.token_pattern)
        require_int("min_df", self.min_df, 1)
        if self.max_features is not None:
            require_int("max_features", self.max_features, 1)

    def text_options(self) -> dict[str, Any]:
        """The keyword arguments of `TextVectorizer.fit`."""
        return {name: value for name, value in vars(self).items() if name != "tfidf"}


def check_text_options(ngrams: int, lowercase: bool, token_pattern: str) -> None:
    """Raise ArgumentError for options of a vocabulary that cannot be meant."""
    require_int("ngrams", ngrams, 1)
    if not isinstance(lowercase, bool):
        raise ArgumentError(f"lowercase={lowercase!r} must be True or False")
    try:
        groups = re.compile(token_pattern).groups
    except (re.error, TypeError, OverflowError, RecursionError) as error:
        raise ArgumentError(f"token_pattern={token_pattern!r} is no regular expression: {error}") from None
    if groups > 1:
        raise ArgumentError(f"token_pattern={token_pattern!r} has {groups} groups; write (?:...), one may stay")
