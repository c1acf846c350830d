"""Tar shards: written, checked, and read back into rows of the index (FORMAT.md section 5)."""

import io
import json
import math
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, BinaryIO, Final, TypeAlias

import msgspec
import numpy as np

from frame_store.codec import crc32c
from frame_store.containers.shards import (
    FrameRecord,
    ShardFile,
    ShardReceipt,
    empty_rows,
    read_exactly,
)
from frame_store.files import OpenFile, open_inside
from frame_store.index import FrameIndex, max_payload_bytes
from frame_store.manifest import Encoding, Generation
from frame_store.names import PixelDtype, frame_key
from frame_store.npy import npy_header, read_npy_header
from frame_store.shared import counted

MAX_GAP_BYTES: Final = 1 << 20
"""Most bytes between two payloads: three headers, and a `.json` of a path and three numbers."""

_AS_JSON: Final = json.JSONEncoder(separators=(",", ":")).encode


def _empty_header() -> bytes:
    member = tarfile.TarInfo()
    member.mode = 0o444
    return member.tobuf(tarfile.USTAR_FORMAT)


_EMPTY_HEADER: Final = _empty_header()
_SUM_OF_EMPTY_HEADER: Final = (
    sum(_EMPTY_HEADER[:124]) + sum(_EMPTY_HEADER[135:148]) + 8 * ord(" ") + sum(_EMPTY_HEADER[156:])
)
"""Without the digits of the size. The field of the checksum counts as spaces (POSIX.1-1988, pax "ustar")."""

_U4: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


def image_suffix(encoding: Encoding) -> str:
    """Suffix of the members that hold frames, without its dot: `jpg` or `npy`."""
    return "jpg" if encoding.name == "jpeg" else "npy"


def image_member(frame_id: int, encoding: Encoding) -> str:
    """Name of the member that holds a frame's pixels."""
    return f"{frame_key(frame_id)}.{image_suffix(encoding)}"


def json_member(frame_id: int) -> str:
    """Name of the member that holds a frame's metadata."""
    return f"{frame_key(frame_id)}.json"


class FrameMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of a frame's `.json` member."""

    video_id: _U4
    video: str
    frame_in_video: _U4
    pts_seconds: float | None

    @classmethod
    def of(cls, record: FrameRecord) -> "FrameMetadata":
        """The metadata of a frame."""
        return cls(
            video_id=record.video_id,
            video=record.video_path,
            frame_in_video=record.frame_in_video,
            pts_seconds=None if math.isnan(record.pts_seconds) else record.pts_seconds,
        )

    @classmethod
    def decoded(cls, raw: bytes) -> "FrameMetadata":
        """The metadata in the bytes of a member.

        Raises:
            ValueError: the bytes are not such JSON.
        """
        try:
            return msgspec.json.decode(raw, type=cls)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"its .json is damaged: {error}") from error

    def encoded(self) -> bytes:
        """One JSON object in ASCII."""
        return _AS_JSON(msgspec.to_builtins(self)).encode()

    def fill(self, row: np.void) -> None:
        """Write the metadata into the columns of a row of the index."""
        row["video_id"], row["frame_in_video"] = self.video_id, self.frame_in_video
        row["pts_seconds"] = math.nan if self.pts_seconds is None else self.pts_seconds


class TarShardWriter:
    """Appends frames to a tar shard. Headers come from `tarfile` with a time of 0, so equal frames give equal bytes."""

    def __init__(
        self,
        file: ShardFile,
        *,
        encoding: Encoding,
        frame_shape: tuple[int, int, int],
        frame_dtype: PixelDtype,
    ) -> None:
        self._file = file
        self._num_frames = 0
        self._encoding = encoding
        self._payload_header = (
            b"" if image_suffix(encoding) == "jpg" else npy_header(frame_shape, frame_dtype)
        )

    def append(self, record: FrameRecord, payload: bytes) -> int:
        """Write a frame's two members; returns the byte offset of the payload itself."""
        image, metadata = image_member(record.frame_id, self._encoding), FrameMetadata.of(record).encoded()
        num_bytes = len(self._payload_header) + len(payload)
        self._file.append(member_header(image, num_bytes) + self._payload_header)
        byte_offset = self._file.append(payload)
        self._file.append(
            _padding(num_bytes)
            + member_header(json_member(record.frame_id), len(metadata))
            + metadata
            + _padding(len(metadata))
        )
        self._num_frames += 1
        return byte_offset

    def seal(self) -> ShardReceipt:
        """Write the end-of-archive blocks, sync and close."""
        end = self._file.num_bytes + 2 * tarfile.BLOCKSIZE
        self._file.append(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))
        return self._file.seal(num_frames=self._num_frames)


def member_header(name: str, num_bytes: int) -> bytes:
    """The USTAR header of a regular file of mode 0444, as `tarfile` makes it for a `TarInfo` with a time of 0.

    It is that of a file without name and bytes, with three fields filled in: `tarfile` itself takes 55 us for each.

    Args:
        name: At most 100 ASCII characters.
        num_bytes: Fewer than 2^33.
    """
    size = b"%011o" % num_bytes
    checksum = _SUM_OF_EMPTY_HEADER + sum(name.encode()) + sum(size)
    header = bytearray(_EMPTY_HEADER)
    header[: len(name)] = name.encode()
    header[124:135] = size
    header[148:155] = b"%06o\0" % checksum
    return bytes(header)


def _padding(num_bytes: int) -> bytes:
    """What fills the last block of a member of a size."""
    return bytes(-num_bytes % tarfile.BLOCKSIZE)


def check_tar_shard(
    file: OpenFile,
    *,
    rows: FrameIndex,
    first_frame_id: int,
    generation: Generation,
    video_paths: Sequence[str],
) -> Iterator[str]:
    """One line for each frame whose headers or `.json` differ from the index, and one for a wrong end of the archive.

    `index.npy` has the places of the payloads, so every other byte of the shard has one place and one meaning. After
    this check, any reader of tar files may open the shard: no header makes it read, allocate or follow anything else.

    `rows` are the shard's rows of the index, which `find_row_problem` has found sound; `video_paths` are by video_id.
    """
    end = 0
    for slot, row in enumerate(rows):
        frame_id = first_frame_id + slot
        try:
            gap = _Gap(file, end, int(row["byte_offset"]))
            if slot:
                gap.skip_json(frame_id - 1, rows[slot - 1], video_paths)
        except ValueError as error:
            yield f"frame {frame_id - bool(slot)}: {error}"
        else:
            try:
                gap.skip_image_header(frame_id, row, generation)
            except ValueError as error:
                yield f"frame {frame_id}: {error}"
        end = int(row["byte_offset"]) + int(row["byte_length"])
    last_id = first_frame_id + len(rows) - 1
    try:
        gap = _Gap(file, end, os.fstat(file.number).st_size)
        gap.skip_json(last_id, rows[-1], video_paths)
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

    def skip_json(self, frame_id: int, row: np.void, video_paths: Sequence[str]) -> None:
        """The padding after a frame's image, then its `.json` member and the padding after that."""
        self._skip_padding()
        num_bytes = _member_size(self._take(tarfile.BLOCKSIZE), json_member(frame_id))
        record = FrameRecord(
            frame_id=frame_id,
            video_id=int(row["video_id"]),
            video_path=video_paths[row["video_id"]],
            frame_in_video=int(row["frame_in_video"]),
            pts_seconds=float(row["pts_seconds"]),
        )
        expected = FrameMetadata.of(record)
        if FrameMetadata.decoded(self._take(num_bytes)) != expected:
            raise ValueError(f"its .json differs from index.npy: expected {expected.encoded().decode()}")
        self._skip_padding()

    def skip_image_header(self, frame_id: int, row: np.void, generation: Generation) -> None:
        """The header of a frame's image, which ends where the payload begins."""
        num_bytes = _member_size(self._take(tarfile.BLOCKSIZE), image_member(frame_id, generation.encoding))
        if image_suffix(generation.encoding) == "npy":
            header = io.BytesIO(self._take(self.num_left))
            shape, dtype = read_npy_header(header)
            if shape != generation.frame_shape or dtype != generation.frame_dtype or header.read(1):
                raise ValueError(f"its .npy header has {dtype} of shape {shape}")
            num_bytes -= header.tell()
        if self.num_left or num_bytes != row["byte_length"]:
            raise ValueError("its tar header gives it other bytes than index.npy")

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


def tar_shard_rows(folder: Path, *, generation: Generation, shard_id: int, first_frame_id: int) -> FrameIndex:
    """The rows of the index for a tar shard, shape (frames of the shard,), of `INDEX_DTYPE`, read out of the shard.

    For a cache whose index is damaged. The caller has checked that the shard has the recorded hash; still, each
    size in it is checked before it is used.

    Raises:
        ValueError: the shard does not follow FORMAT.md section 5.
        OSError: the shard cannot be read, or is a link.
    """
    shard = generation.shards[shard_id]
    rows = empty_rows(shard_id, shard.num_frames)
    max_bytes = max_payload_bytes(generation)
    descriptor = open_inside(folder, shard.name)
    with os.fdopen(os.dup(descriptor.number), "rb") as file:
        for slot, row in enumerate(rows):
            frame_id = first_frame_id + slot
            end = _enter_member(file, image_member(frame_id, generation.encoding))
            if image_suffix(generation.encoding) == "npy":
                read_npy_header(file)
            row["byte_offset"] = file.tell()
            payload = read_exactly(file, end - file.tell(), at_most=max_bytes)
            row["byte_length"], row["crc32c"] = len(payload), crc32c(payload)
            _leave_member(file)
            end = _enter_member(file, json_member(frame_id))
            raw = read_exactly(file, end - file.tell(), at_most=MAX_GAP_BYTES)
            FrameMetadata.decoded(raw).fill(row)
            _leave_member(file)
    return rows


def _enter_member(file: BinaryIO, name: str) -> int:
    """Read a member's header; returns where its content ends."""
    header = read_exactly(file, tarfile.BLOCKSIZE, at_most=tarfile.BLOCKSIZE)
    return file.tell() + _member_size(header, name)


def _leave_member(file: BinaryIO) -> None:
    read_exactly(file, -file.tell() % tarfile.BLOCKSIZE, at_most=tarfile.BLOCKSIZE)


def _member_size(header: bytes, name: str) -> int:
    """Bytes of the content that a header announces, which must be that of the regular file `name`."""
    try:
        member = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    except (tarfile.TarError, ValueError) as error:
        raise ValueError(f"expected the tar header of {name}: {error}") from error
    if member.name != name or member.type != tarfile.REGTYPE:
        raise ValueError(f"expected the tar header of {name}, found one of {member.name!r}")
    return int(member.size)
