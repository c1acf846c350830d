"""How many frames an H.264 decoder must hold back so that all come out in order.

A stream may leave that unsaid (no `bitstream_restriction`). FFmpeg then guesses from the first frames, and drops a
frame whenever it finds that it must hold back more. Timestamps of the whole file tell the number.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

MAX_REORDER_DEPTH: Final = 16
"""Frames that H.264 allows to be held back (A.3.1: MaxDpbFrames)."""

_WINDOW: Final = 32
"""Packets before a packet that are compared with it: two fields of as many frames as may be held back."""


def reorder_depth(pts: npt.NDArray[np.int64]) -> int:
    """The most packets that come before a packet in the file and are shown after it, `MAX_REORDER_DEPTH` at most.

    `pts` are the packets' timestamps in file order, shape (num_packets,); the definition is that of
    `max_num_reorder_frames` (H.264, E.2.1). Fields and jumps of time make it larger than it need be, which costs
    memory and no frame.

    >>> reorder_depth(np.array([0, 4, 2, 1, 3]))
    2
    """
    num_before = np.zeros(len(pts), np.int64)
    for distance in range(1, min(_WINDOW, len(pts) - 1) + 1):
        num_before[distance:] += pts[:-distance] > pts[distance:]
    return min(int(num_before.max(initial=0)), MAX_REORDER_DEPTH)
