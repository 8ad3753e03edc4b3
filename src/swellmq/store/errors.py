"""What can be wrong with a data folder, in words for its operator."""

from __future__ import annotations


class StoreError(Exception):
    """The store can't be opened or read: which file, what is wrong with it, and what to do."""
