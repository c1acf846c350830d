"""Batches of frames: what one holds, how threads read it, and the buffers that are used again."""

from loader.batches.frame_batch import FrameBatch, read_frame_batch
from loader.batches.reader import BatchReader
from loader.batches.threads import ReaderThreads, Reading, closed_at_end, closed_at_exit

__all__ = [
    "BatchReader",
    "FrameBatch",
    "ReaderThreads",
    "Reading",
    "closed_at_end",
    "closed_at_exit",
    "read_frame_batch",
]
