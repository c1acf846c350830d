"""Batches of frames: what one holds, where frames come from, how threads read it, buffers."""

from loader.batches.anchors import videos_of_anchors
from loader.batches.buffers import BatchBuffers, Parts
from loader.batches.camera_batch import CameraBatch
from loader.batches.frame_batch import FrameBatch
from loader.batches.reader import BatchReader, CpuReader, ReadBatch, TakeOver
from loader.batches.sources import AugmentChoice, FrameSource, FrameSources, frame_sources
from loader.batches.threads import ReaderThreads, Reading, closed_at_end, closed_at_exit, read_in_order

__all__ = [
    "AugmentChoice",
    "BatchBuffers",
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
    "read_in_order",
    "videos_of_anchors",
]
