"""One tar shard: per frame a `.jpg` or `.npy` member and a `.json` member (FORMAT.md section 5)."""

import io
import json
import math
import tarfile

import numpy as np

from frame_store.containers.writing import FrameRecord, ShardFile, ShardReceipt
from frame_store.manifest import Encoding
from frame_store.names import frame_key


class TarShardWriter:
    """Appends frames to a tar shard. Headers come from `tarfile`, stamped 0, so equal frames give equal bytes."""

    def __init__(self, file: ShardFile, *, encoding: Encoding, frame_shape: tuple[int, int, int]) -> None:
        self._file = file
        self._num_frames = 0
        self._suffix = ".jpg" if encoding.name == "jpeg" else ".npy"
        self._payload_header = b"" if encoding.name == "jpeg" else npy_header(frame_shape)

    def append(self, record: FrameRecord, payload: bytes) -> int:
        """Write a frame's two members; returns the byte offset of the payload itself."""
        key = frame_key(record.frame_id)
        self._append_member(key + self._suffix, len(self._payload_header) + len(payload))
        if self._payload_header:
            self._file.append(self._payload_header)
        byte_offset = self._file.append(payload)
        self._pad()
        metadata = frame_metadata(record)
        self._append_member(key + ".json", len(metadata))
        self._file.append(metadata)
        self._pad()
        self._num_frames += 1
        return byte_offset

    def seal(self) -> ShardReceipt:
        """Write the end-of-archive blocks, sync and close."""
        end = self._file.num_bytes + 2 * tarfile.BLOCKSIZE
        self._file.append(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))
        return self._file.seal(num_frames=self._num_frames)

    def _append_member(self, name: str, num_bytes: int) -> None:
        member = tarfile.TarInfo(name)
        member.size = num_bytes
        member.mode = 0o444
        self._file.append(member.tobuf(tarfile.USTAR_FORMAT))

    def _pad(self) -> None:
        self._file.append(bytes(-self._file.num_bytes % tarfile.BLOCKSIZE))


def npy_header(frame_shape: tuple[int, int, int]) -> bytes:
    """The `.npy` version 1.0 header of a C-ordered uint8 array of that shape."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|u1", "fortran_order": False, "shape": frame_shape}
    )
    return buffer.getvalue()


def frame_metadata(record: FrameRecord) -> bytes:
    """The `.json` member: ASCII, one object, `pts_seconds` null where the source has none."""
    pts_seconds = None if math.isnan(record.pts_seconds) else record.pts_seconds
    return json.dumps(
        {
            "video_id": record.video_id,
            "video": record.video_path,
            "frame_in_video": record.frame_in_video,
            "pts_seconds": pts_seconds,
        },
        separators=(",", ":"),
    ).encode()
