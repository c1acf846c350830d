"""`index.npy`: one row per frame, memory-mapped (FORMAT.md section 4)."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from frame_store.manifest import Generation
from frame_store.names import INDEX_DTYPE, INDEX_NAME
from frame_store.npy import map_npy

FrameIndex = npt.NDArray[Any]


def open_index(folder: Path, *, num_frames: int) -> FrameIndex:
    """Map the `index.npy` of a generation's folder read-only: structured array of `INDEX_DTYPE`, shape (num_frames,).

    Raises:
        StoreDamagedError: the file is missing, a link, of another dtype or length, or does not fit its header.
        OSError: no more files can be opened.
    """
    return map_npy(folder, INDEX_NAME, dtype=INDEX_DTYPE, shape=(num_frames,), section="4")


class RowProblem(NamedTuple):
    """The first row of a shard that cannot be right."""

    slot: int
    reason: str


def find_row_problem(rows: FrameIndex, *, generation: Generation, shard_id: int) -> RowProblem | None:
    """Check that each row has the right shard and slot, and a video that exists; and that payloads do not overlap.

    Each payload must lie inside the shard. `rows` are those of the frames that `generation.json` gives to shard
    `shard_id`, in order. Payloads lie in the order of the slots, so it is enough to compare neighbours.
    """
    num_bytes, max_length = generation.shards[shard_id].num_bytes, max_payload_bytes(generation)
    offsets, lengths = rows["byte_offset"], rows["byte_length"].astype(np.uint64)
    outside = (lengths > num_bytes) | (offsets > np.uint64(num_bytes) - lengths)
    overlaps = np.zeros(len(rows), bool)
    overlaps[1:] = offsets[1:] < offsets[:-1] + lengths[:-1]
    wrong_length, length_text = (
        lengths > max_length,
        f"with more than the {max_length} bytes that a frame can take",
    )
    if generation.encoding.name == "raw":
        wrong_length, length_text = (
            lengths != max_length,
            f"with other than the {max_length} bytes of a raw frame",
        )
    checks = (
        (
            (rows["shard_id"] != shard_id) | (rows["slot"] != np.arange(len(rows))),
            "which is another frame's place",
        ),
        (outside, "outside the shard"),
        (overlaps, "into the frame before it"),
        (wrong_length, length_text),
        (
            rows["video_id"] >= generation.num_videos,
            f"of a video beyond the {generation.num_videos} of the generation",
        ),
    )
    for is_wrong, reason in checks:
        if is_wrong.any():
            return RowProblem(int(np.argmax(is_wrong)), reason)
    return None


def max_payload_bytes(generation: Generation) -> int:
    """Most bytes of an encoded frame. A limit: a damaged index cannot make a reader load gigabytes for one frame.

    JPEG: twice what libjpeg-turbo's `tjBufSize` allows for 4:4:4, and room for metadata. Zstandard:
    `ZSTD_compressBound`.
    """
    height, width, channels = generation.frame_shape
    num_bytes = height * width * channels * generation.frame_dtype.itemsize
    if generation.encoding.name == "raw":
        return num_bytes
    if generation.encoding.name == "zstd":
        return num_bytes + (num_bytes >> 8) + 64
    return 2 * (2 * (-(-height // 16) * 16) * (-(-width // 16) * 16) * channels + 2048) + (1 << 16)
