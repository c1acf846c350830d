"""Spill: a decoded unit's frames, on disk or in an object store, until they are written into shards.

A unit has two files or objects: its encoded frames, one after the other, and a receipt. The receipt is written last and
has a checksum, so a unit counts whole or not at all. Files are not fsynced, so frames are checked against the receipt
before they are used. Objects are whole or absent, and each frame is checked when it is fetched.
"""

import os
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import msgspec

from cache_builder.findings import UnitReceipt
from cache_builder.jobs.objects import temporary_path
from cache_builder.jobs.records import MAX_RECORD_BYTES, checked, with_checksum
from frame_store.codec import crc32c
from frame_store.errors import ObjectMissingError
from frame_store.remote import ObjectClient
from frame_store.shared import raise_if_out_of_files

TEMPORARY: Final = ".tmp"
"""End of the names of files that are being written. A killed job leaves them, and the next run removes them."""


class ObjectSpill(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of spilled units in an object store."""

    client: ObjectClient
    work: Path
    """Where a unit's frames are written before they are put; a job on another machine takes its temporary folder."""


SpillPlace: TypeAlias = Path | ObjectSpill
"""Where decoded units are kept: a folder, or an object store."""


class SpilledUnit(Protocol):
    """One unit's spill, wherever it is."""

    @property
    def written_path(self) -> Path:
        """The file into which the frames are written. No other process has one of this name."""
        ...

    def write_receipt(self, receipt: UnitReceipt) -> None:
        """Write the receipt, which makes the unit count as decoded."""
        ...

    def read_receipt(self) -> UnitReceipt | None:
        """The receipt of an earlier run; None unless it and all its frames are intact."""
        ...

    def remove(self) -> None:
        """Forget the unit."""
        ...

    def close(self) -> None:
        """Remove what was written and does not count."""
        ...


def spilled_unit(place: SpillPlace, name: str) -> SpilledUnit:
    """The unit of that name in a place."""
    return UnitSpill(place, name) if isinstance(place, Path) else UnitObjects(place, name)


class UnitSpill:
    """Paths of one unit's spill, by the unit's name."""

    def __init__(self, folder: Path, name: str) -> None:
        self.frames_path = folder / frames_key(name)
        """Of a unit that has a receipt."""
        self._receipt_path = folder / f"{name}.receipt"
        self.written_path = folder / f"{name}.{os.urandom(4).hex()}{TEMPORARY}"

    def write_receipt(self, receipt: UnitReceipt) -> None:
        """Give the frames their name and write the receipt, which makes the unit count as decoded."""
        self.written_path.replace(self.frames_path)
        self.written_path.write_bytes(with_checksum(msgspec.msgpack.encode(receipt)))
        self.written_path.replace(self._receipt_path)

    def read_receipt(self) -> UnitReceipt | None:
        """The receipt of an earlier run; None unless it and all its frames are intact.

        Raises:
            OSError: no more files can be opened.
        """
        try:
            data = checked(self._receipt_path.read_bytes())
            if data is None:
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

    def close(self) -> None:
        """Remove what was written and has no receipt."""
        self.written_path.unlink(missing_ok=True)


class UnitObjects:
    """Two objects of one unit, by the unit's name. Methods raise what `ObjectClient` raises."""

    def __init__(self, place: ObjectSpill, name: str) -> None:
        self._client = place.client
        self._frames_key = frames_key(name)
        self._receipt_key = f"{name}.receipt"
        self.written_path = temporary_path(place.work, self._frames_key)

    def write_receipt(self, receipt: UnitReceipt) -> None:
        """Put the frames, then the receipt, which makes the unit count as decoded."""
        self._client.put_file(self._frames_key, self.written_path)
        self.close()
        self._client.put(self._receipt_key, with_checksum(msgspec.msgpack.encode(receipt)))

    def read_receipt(self) -> UnitReceipt | None:
        """The receipt of an earlier run; None unless it is intact, and its frames have the recorded size."""
        try:
            data = checked(self._client.get(self._receipt_key, max_bytes=MAX_RECORD_BYTES))
            if data is None:
                return None
            receipt = msgspec.msgpack.decode(data, type=UnitReceipt)
        except (ObjectMissingError, msgspec.MsgspecError):
            return None
        frames = self._client.find(self._frames_key)
        return receipt if frames is not None and frames.num_bytes == receipt.num_bytes else None

    def remove(self) -> None:
        """Forget the unit."""
        self._client.delete([self._receipt_key, self._frames_key])

    def close(self) -> None:
        """Remove the local file."""
        self.written_path.unlink(missing_ok=True)


def frames_key(name: str) -> str:
    """The object with the frames of a unit."""
    return f"{name}.frames"
