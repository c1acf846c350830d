"""Whether a tar shard is what FORMAT.md section 5 says, to the byte between the payloads.

`index.npy` says where the payloads are, so every other byte has one place and one meaning: what is checked here can
be handed to any reader of tar files, and no header can make one read, allocate or follow anything else.
"""

import io
import json
import math
import os
import tarfile
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from frame_store.index import FrameIndex, read_npy_header
from frame_store.manifest import StoreManifest
from frame_store.names import frame_key
from frame_store.open_file import OpenFile
from frame_store.shared import counted

MAX_GAP_BYTES: Final = 1 << 20
"""Between two payloads lie three headers and a `.json` of a path and three numbers."""


def check_tar_shard(
    file: OpenFile, *, rows: FrameIndex, first_frame_id: int, manifest: StoreManifest
) -> Iterator[str]:
    """One line for each frame of the shard whose headers or `.json` are not as they must be, and for a wrong end.

    `rows` are the shard's rows of the index, found sound by `find_row_problem`.
    """
    suffix = "jpg" if manifest.encoding.name == "jpeg" else "npy"
    end = 0
    for slot, row in enumerate(rows):
        frame_id = first_frame_id + slot
        try:
            gap = _Gap(file, end, int(row["byte_offset"]))
            if slot:
                gap.skip_json(frame_id - 1, rows[slot - 1], manifest)
        except ValueError as error:
            yield f"frame {frame_id - bool(slot)}: {error}"
        else:
            try:
                gap.skip_image_header(frame_id, suffix, row, manifest)
            except ValueError as error:
                yield f"frame {frame_id}: {error}"
        end = int(row["byte_offset"]) + int(row["byte_length"])
    last_id = first_frame_id + len(rows) - 1
    try:
        gap = _Gap(file, end, os.fstat(file.number).st_size)
        gap.skip_json(last_id, rows[-1], manifest)
    except ValueError as error:
        yield f"frame {last_id}: {error}"
    else:
        if gap.num_left < 2 * tarfile.BLOCKSIZE or gap.num_left % tarfile.BLOCKSIZE or not gap.is_zero():
            yield "the archive does not end in blocks of zeros"


class _Gap:
    """The bytes between two payloads, read once, in order."""

    def __init__(self, file: OpenFile, start: int, end: int) -> None:
        if end - start > MAX_GAP_BYTES:
            raise ValueError(f"{counted(end - start, 'byte')} before it that belong to no frame")
        self._start = start
        self._bytes = os.pread(file.number, end - start, start)
        self._position = 0

    @property
    def num_left(self) -> int:
        return len(self._bytes) - self._position

    def is_zero(self) -> bool:
        return not any(self._bytes[self._position :])

    def skip_json(self, frame_id: int, row: np.void, manifest: StoreManifest) -> None:
        """The padding of a frame's image and its `.json` member, padding included."""
        self._skip_padding()
        num_bytes = self._skip_header(f"{frame_key(frame_id)}.json")
        raw = self._take(num_bytes)
        pts_seconds = float(row["pts_seconds"])
        expected = {
            "video_id": int(row["video_id"]),
            "video": manifest.videos[row["video_id"]].path,
            "frame_in_video": int(row["frame_in_video"]),
            "pts_seconds": None if math.isnan(pts_seconds) else pts_seconds,
        }
        try:
            found: Any = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"its .json is damaged: {error}") from error
        if found != expected:
            raise ValueError(f"its .json says other than index.npy: expected {expected}")
        self._skip_padding()

    def skip_image_header(self, frame_id: int, suffix: str, row: np.void, manifest: StoreManifest) -> None:
        """The header of a frame's image, which ends where its payload begins."""
        num_bytes = self._skip_header(f"{frame_key(frame_id)}.{suffix}")
        if suffix == "npy":
            header = io.BytesIO(self._take(self.num_left))
            shape, dtype = read_npy_header(header)
            if shape != manifest.frame_shape or dtype != np.uint8 or header.read(1):
                raise ValueError(f"its .npy header says {dtype} of shape {shape}")
            num_bytes -= header.tell()
        if self.num_left or num_bytes != row["byte_length"]:
            raise ValueError("its tar header gives it other bytes than index.npy")

    def _skip_header(self, name: str) -> int:
        """A member's header; returns the size that it gives."""
        try:
            member = tarfile.TarInfo.frombuf(self._take(tarfile.BLOCKSIZE), "utf-8", "strict")
        except (tarfile.TarError, ValueError) as error:
            raise ValueError(f"expected the tar header of {name}: {error}") from error
        if member.name != name or member.type != tarfile.REGTYPE:
            raise ValueError(f"expected the tar header of {name}, found one of {member.name!r}")
        return int(member.size)

    def _skip_padding(self) -> None:
        if any(self._take(-(self._start + self._position) % tarfile.BLOCKSIZE)):
            raise ValueError("its padding is not zero")

    def _take(self, num_bytes: int) -> bytes:
        if not 0 <= num_bytes <= self.num_left:
            raise ValueError(
                f"{counted(num_bytes, 'byte')} expected before the next frame, found {self.num_left}"
            )
        self._position += num_bytes
        return self._bytes[self._position - num_bytes : self._position]
