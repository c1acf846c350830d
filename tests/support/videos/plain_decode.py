"""The oracle for decoding: PyAV reads from the first packet to the last, goes on after errors and never seeks."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np


@dataclass(frozen=True, kw_only=True)
class PlainFrame:
    md5: str
    """Checksum of the decoded planes, without row padding."""
    pts: int | None
    is_corrupt: bool


def plane_md5(frame: av.VideoFrame) -> str:
    digest = hashlib.md5()
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height]
        sample_bytes = max(1, frame.format.components[0].bits > 8 and 2)
        digest.update(np.ascontiguousarray(rows[:, : plane.width * sample_bytes]))
    return digest.hexdigest()


def decode_plainly(path: Path) -> tuple[list[PlainFrame], int]:
    """All frames of the best video stream in output order, and the number of errors on the way."""
    frames = []
    num_errors = 0
    container = av.open(f"file:{path}")
    stream = container.streams.best("video")
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    for packet in container.demux(stream):
        try:
            decoded = packet.decode()
        except av.FFmpegError:
            num_errors += 1
            continue
        frames += [
            PlainFrame(md5=plane_md5(frame), pts=frame.pts, is_corrupt=frame.is_corrupt) for frame in decoded
        ]
    container.close()
    return frames, num_errors


def in_rising_order(path: Path, pts: list[float | int | None]) -> list[float | int | None]:
    """Expected pts of frames in output order. Where a file stores no pts, only the set of FFmpeg's pts is right."""
    if path.suffix not in {".avi", ".mpg", ".h264", ".m2v", ".m4v"}:
        return pts
    rising = iter(sorted(one for one in pts if one is not None))
    return [None if one is None else next(rising) for one in pts]
