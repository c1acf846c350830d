"""Batches of frames: what one holds, where frames come from, how threads read it, buffers."""

from loader.batches.anchors import videos_of_anchors
from loader.batches.buffers import Parts
from loader.batches.camera_batch import CameraBatch
from loader.batches.frame_batch import FrameBatch
from loader.batches.reader import BatchReader, CpuReader, ReadBatch, TakeOver
from loader.batches.sources import AugmentChoice, FrameSource, FrameSources, frame_sources
from loader.batches.threads import ReaderThreads, Reading, closed_at_end, closed_at_exit

__all__ = [
    "AugmentChoice",
    "BatchReader",
    "CameraBatch",
    "CpuReader",
    "FrameBatch",
    "FrameSource",
    "FrameSources",
    "Parts",
    "ReadBatch",
    "ReaderThreads",
    "Reading",
    "TakeOver",
    "closed_at_end",
    "closed_at_exit",
    "frame_sources",
    "videos_of_anchors",
]
