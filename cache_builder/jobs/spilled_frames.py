"""The frames of a shard, read out of spilled units: from files one by one, from an object store by ranges."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from cache_builder.jobs.spill import ObjectSpill, SpillPlace, UnitSpill, frames_key
from frame_store.codec import crc32c
from frame_store.errors import ObjectMissingError
from frame_store.files import OpenFile
from frame_store.remote import ObjectClient
from frame_store.shared import descriptor_share

Sources = npt.NDArray[np.void]
"""Rows of `sources.npy`."""

MAX_OPEN_SPILLS: Final = 256
_NUM_IN_FLIGHT: Final = 32
_WINDOW_BYTES: Final = 1 << 26
"""Of the frames that are in memory at once."""
_RANGE_BYTES: Final = 1 << 23
"""A longer range is several requests."""
_GAP_BYTES: Final = 1 << 16
"""A shorter gap between two frames costs less time than a second request."""


class SpillDamagedError(Exception):
    """A spilled frame does not match its unit's receipt: that unit must be decoded again."""


def spilled_payloads(place: SpillPlace, unit_names: Sequence[str], sources: Sources) -> Iterator[bytes]:
    """The encoded frame of each of `sources`, in order, checked.

    Raises:
        SpillDamagedError: the spill was changed after it was written.
        OSError: the disk fails.
        ObjectStoreError: the store cannot be reached.
    """
    if isinstance(place, ObjectSpill):
        yield from _fetched(place.client, unit_names, sources)
        return
    files = _SpilledFiles(place, unit_names)
    for source in sources:
        yield files.read(source)


class _SpilledFiles:
    """Reads frames out of spill files, and keeps a bounded number of them open."""

    def __init__(self, folder: Path, unit_names: Sequence[str]) -> None:
        self._unit_names = unit_names

        def opened(unit: int) -> OpenFile:  # no method: the files would wait for the garbage collector
            return OpenFile(UnitSpill(folder, unit_names[unit]).frames_path)

        self._file_of = lru_cache(maxsize=descriptor_share(at_most=MAX_OPEN_SPILLS))(opened)

    def read(self, source: np.void) -> bytes:
        unit = int(source["unit"])
        number = self._file_of(unit).number
        payload = os.pread(number, int(source["byte_length"]), int(source["byte_offset"]))
        if crc32c(payload) != source["crc32c"]:
            raise SpillDamagedError(self._unit_names[unit])
        return payload


@dataclass(slots=True)
class _Range:
    """Frames of one unit that lie near one another."""

    unit: str
    start: int
    end: int
    frames: list[int]
    """Their places among the sources."""


def _fetched(client: ObjectClient, unit_names: Sequence[str], sources: Sources) -> Iterator[bytes]:
    with ThreadPoolExecutor(_NUM_IN_FLIGHT) as threads:
        for first, end in windows(sources["byte_length"]):
            window = sources[first:end]
            payloads: list[bytes] = [b""] * len(window)

            def fetch(each: _Range, window: Sources = window, payloads: list[bytes] = payloads) -> None:
                _fetch(client, each, window, payloads)

            for _ in threads.map(fetch, ranges(unit_names, window)):
                pass  # raises what a request raised
            yield from payloads


def windows(lengths: npt.NDArray[np.uint32]) -> Iterator[tuple[int, int]]:
    """[first, end) of runs of frames, of `_WINDOW_BYTES` at most or of one frame."""
    ends = np.cumsum(lengths, dtype=np.int64)
    first = 0
    while first < len(ends):
        before = int(ends[first - 1]) if first else 0
        end = max(first + 1, int(np.searchsorted(ends, before + _WINDOW_BYTES, side="right")))
        yield first, end
        first = end


def ranges(unit_names: Sequence[str], window: Sources) -> list[_Range]:
    """What to ask for. A gap between two frames is fetched, too, where it is short and shorter than the frame."""
    found: list[_Range] = []
    units, starts = window["unit"].tolist(), window["byte_offset"].tolist()
    lengths = window["byte_length"].tolist()
    last_unit = -1
    for place in np.lexsort((window["byte_offset"], window["unit"])).tolist():
        start, end = starts[place], starts[place] + lengths[place]
        last = found[-1] if found else None
        if (
            last is not None
            and units[place] == last_unit
            and start - last.end <= min(_GAP_BYTES, lengths[place])
            and end - last.start <= _RANGE_BYTES
        ):
            last.end = end
            last.frames.append(place)
        else:
            found.append(_Range(unit_names[units[place]], start, end, [place]))
        last_unit = units[place]
    return found


def _fetch(client: ObjectClient, each: _Range, window: Sources, payloads: list[bytes]) -> None:
    """Fetch a range and cut it into frames; a frame that is not right is asked for once more."""
    content = _bytes_of(client, each.unit, each.start, each.end)
    for place in each.frames:
        start, length = int(window["byte_offset"][place]), int(window["byte_length"][place])
        payload = bytes(content[start - each.start : start - each.start + length])
        if crc32c(payload) != window["crc32c"][place]:
            payload = bytes(_bytes_of(client, each.unit, start, start + length))
            if crc32c(payload) != window["crc32c"][place]:
                raise SpillDamagedError(each.unit)
        payloads[place] = payload


def _bytes_of(client: ObjectClient, unit: str, start: int, end: int) -> memoryview:
    if start == end:
        return memoryview(b"")
    try:
        return client.get_range(frames_key(unit), start, end - start)
    except ObjectMissingError:
        raise SpillDamagedError(unit) from None
