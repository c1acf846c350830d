"""A shard that is written whole or not at all, with a receipt beside the cache, so that it is written once."""

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np

from frame_store.containers import ShardFile, ShardReceipt
from frame_store.files import sync_path, write_file
from frame_store.index import FrameIndex
from frame_store.shared import raise_if_out_of_files

WriteShard: TypeAlias = Callable[[ShardFile], tuple[FrameIndex, ShardReceipt]]
"""Writes the shard into a new file; returns its rows of the index, and the receipt of the sealed file."""


def finished_shard(
    path: Path, *, receipts: Path, work: Path, shard_id: int, write: WriteShard
) -> ShardReceipt:
    """Write the shard `path` and its rows of the index, unless an intact shard exists that has a receipt.

    It is written into `work`, a folder of the same file system, under a name that no other process takes: a job of a
    node that is thought lost may still run while the job runs again elsewhere. `work` is outside of the cache, so that
    what such a job leaves is not published.

    Raises:
        OSError: disk full or failing.
        What `write` raises.
    """
    receipt = _ReceiptFile(receipts, shard_id)
    earlier = receipt.read_if_intact(path)
    if earlier is not None:
        return earlier
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = work / f"{path.name}.{os.urandom(4).hex()}.tmp"
    try:
        with ShardFile(temporary) as file:
            rows, written = write(file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_path(path.parent)
    receipt.write(written, rows)
    return written


def shard_rows_path(receipts: Path, shard_id: int) -> Path:
    """The file in the folder of receipts that holds a finished shard's rows of the index."""
    return receipts / f"{shard_id:06d}.npy"


class _ReceiptFile:
    """Receipt and index rows of a finished shard, beside the cache."""

    def __init__(self, receipts: Path, shard_id: int) -> None:
        self._rows_path = shard_rows_path(receipts, shard_id)
        self._receipt_path = self._rows_path.with_suffix(".json")

    def read_if_intact(self, shard: Path) -> ShardReceipt | None:
        """The receipt, if the shard still has the SHA-256 in it.

        Raises:
            OSError: no more files can be opened.
        """
        try:
            receipt = msgspec.json.decode(self._receipt_path.read_bytes(), type=ShardReceipt)
            with shard.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, msgspec.MsgspecError) as error:
            raise_if_out_of_files(error)
            return None
        return receipt if digest == receipt.sha256 else None

    def write(self, receipt: ShardReceipt, rows: FrameIndex) -> None:
        """Write the rows, then the receipt: a shard counts as finished once it has a receipt."""
        buffer = io.BytesIO()
        np.save(buffer, rows, allow_pickle=False)
        write_file(self._rows_path, buffer.getvalue())
        write_file(self._receipt_path, msgspec.json.encode(receipt))
