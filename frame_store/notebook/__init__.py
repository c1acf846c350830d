"""What notebooks show of stores, batches and reports: HTML of bounded size that never raises and runs no script."""

from frame_store.notebook.parts import Figure, facts_table, grid, items, output, paragraphs
from frame_store.notebook.shades import pictures_of, small
from frame_store.notebook.stores import ShownInNotebooks, place_lines

__all__ = [
    "Figure",
    "ShownInNotebooks",
    "facts_table",
    "grid",
    "items",
    "output",
    "paragraphs",
    "pictures_of",
    "place_lines",
    "small",
]
