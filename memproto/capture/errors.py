"""What can be wrong with an input. The text of each exception is one line for the user."""

from __future__ import annotations

__all__ = ["CaptureError", "MissingExtraError"]


class CaptureError(Exception):
    """The input is damaged, or of a kind that is not known."""


class MissingExtraError(Exception):
    """The input needs a package that is not installed."""
