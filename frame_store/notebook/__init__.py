"""What notebooks show of stores, batches and reports: HTML of bounded size that never raises and runs no script."""

from frame_store.notebook.parts import Figure, facts_table, fold, grid, items, output, strip
from frame_store.notebook.shades import pictures_of
from frame_store.notebook.stores import ShownInNotebooks, video_name

__all__ = [
    "Figure",
    "ShownInNotebooks",
    "facts_table",
    "fold",
    "grid",
    "items",
    "output",
    "pictures_of",
    "strip",
    "video_name",
]
