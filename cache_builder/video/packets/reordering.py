"""How many frames an H.264 decoder must hold back so that all come out in order.

A stream may not state the number (no `bitstream_restriction`). FFmpeg then guesses the number from the first frames.
Each time that the number proves too low, FFmpeg drops a frame. The timestamps of the whole file give the number.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

MAX_REORDER_DEPTH: Final = 16
"""Frames that H.264 allows to be held back (A.3.1: MaxDpbFrames)."""

_WINDOW: Final = 32
"""Each packet is compared with this many before it: two fields for each frame that may be held back."""


def reorder_depth(pts: npt.NDArray[np.int64]) -> int:
    """The most packets that come before a packet in the file and are shown after it, `MAX_REORDER_DEPTH` at most.

    `pts` are the packets' timestamps in file order, shape (num_packets,). The definition is that of
    `max_num_reorder_frames` (H.264, E.2.1). Fields and jumps of time make the result larger than necessary, which costs
    memory and loses no frame.

    >>> reorder_depth(np.array([0, 4, 2, 1, 3]))
    2
    """
    num_before = np.zeros(len(pts), np.int64)
    for distance in range(1, min(_WINDOW, len(pts) - 1) + 1):
        num_before[distance:] += pts[:-distance] > pts[distance:]
    return min(int(num_before.max(initial=0)), MAX_REORDER_DEPTH)
