"""Spill files: a decoded unit's frames on disk until they are written into shards.

A unit has two files: its encoded frames, one after the other, and a receipt. The receipt is written last and has a
checksum, so a unit counts whole or not at all. These files are not fsynced, so frames are checked against the receipt
before they are used.
"""

import os
from pathlib import Path

import msgspec

from cache_builder.findings import UnitReceipt
from frame_store.codec import crc32c
from frame_store.shared import raise_if_out_of_files

_CHECKSUM_BYTES = 4


class UnitSpill:
    """Paths of one unit's spill, by the unit's name."""

    def __init__(self, folder: Path, name: str) -> None:
        self.frames_path = folder / f"{name}.frames"
        self._receipt_path = folder / f"{name}.receipt"

    def write_receipt(self, receipt: UnitReceipt) -> None:
        """Write the receipt, which makes the unit count as decoded."""
        data = msgspec.msgpack.encode(receipt)
        temporary = self._receipt_path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(data + crc32c(data).to_bytes(_CHECKSUM_BYTES, "little"))
        temporary.replace(self._receipt_path)

    def read_receipt(self) -> UnitReceipt | None:
        """The receipt of an earlier run; None unless it and all its frames are intact.

        Raises:
            OSError: no more files can be opened.
        """
        try:
            raw = self._receipt_path.read_bytes()
            data, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
            if len(checksum) < _CHECKSUM_BYTES or crc32c(data) != int.from_bytes(checksum, "little"):
                return None
            receipt = msgspec.msgpack.decode(data, type=UnitReceipt)
            with self.frames_path.open("rb") as file:
                for row in receipt.kept_rows:
                    if crc32c(file.read(int(row["byte_length"]))) != row["crc32c"]:
                        return None
        except (OSError, msgspec.MsgspecError) as error:
            raise_if_out_of_files(error)
            return None
        return receipt

    @property
    def num_receipt_bytes(self) -> int:
        """The size of the receipt that was written."""
        return self._receipt_path.stat().st_size

    def remove(self) -> None:
        """Forget the unit."""
        self._receipt_path.unlink(missing_ok=True)
        self.frames_path.unlink(missing_ok=True)
