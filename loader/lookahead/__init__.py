"""Reads ahead for stores that decode: which frames of the next batches are decoded together."""

from loader.lookahead.reader import read_with_lookahead

__all__ = ["read_with_lookahead"]
