"""Batches of frames: what one holds, how threads read it, and the buffers that are used again."""

from loader.batches.frame_batch import FrameBatch, videos_of_anchors
from loader.batches.reader import BatchReader, CpuReader, ReadBatch, TakeOver
from loader.batches.threads import ReaderThreads, Reading, closed_at_end, closed_at_exit

__all__ = [
    "BatchReader",
    "CpuReader",
    "FrameBatch",
    "ReadBatch",
    "ReaderThreads",
    "Reading",
    "TakeOver",
    "closed_at_end",
    "closed_at_exit",
    "videos_of_anchors",
]
