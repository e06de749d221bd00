"""Errors of the command line itself."""

from __future__ import annotations


class UsageError(Exception):
    """Something the user wrote (an option, a path) is wrong; the message says what, and the remedy."""
