"""Payloads of a remote cache: from shards that lie in the folder, or by ranged requests, many at once."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Final

import numpy as np
import numpy.typing as npt

from frame_store.codec import crc32c
from frame_store.errors import ObjectMissingError, StoreDamagedError, StoreError
from frame_store.index import FrameIndex
from frame_store.manifest import CacheTree
from frame_store.protocol import Frames
from frame_store.reader.payloads import DecodeInto
from frame_store.reader.places import Place, at_byte, places_of
from frame_store.reader.remote.announced import AnnouncedRanges
from frame_store.reader.remote.ranges import FrameRange, ranges_of
from frame_store.remote import HeldFile, RemoteCache, RequestThreads, ShardFeed, ShardFolder, ShardObject
from frame_store.shared import without_controls

REQUESTS_AT_ONCE: Final = 128
"""Of a store and process. At 30 ms a request that is at most 4,200 frames a second."""
FRAMES_AHEAD: Final = 1024
"""That a loader announces: the requests under way, and as many again for each of the batches that are decoded."""
MAX_ANNOUNCED_BYTES: Final = 256 << 20
_MAX_AHEAD_BYTES: Final = 64 << 20
"""Of one read: fetched, or on their way, beyond the frame that is decoded."""


class RemoteShards:
    """The shards of a tree whose cache lies in an object store. Threads may share it; each process makes its own."""

    def __init__(self, tree: CacheTree, remote: RemoteCache, *, verifies: bool) -> None:
        """Of all generations of a tree. Asks for nothing."""
        self.pid = os.getpid()
        self._remote = remote
        self.verifies = verifies
        camera = tree.camera
        self._of_camera = "" if camera is None else f" of camera {without_controls(camera.name)!r}"
        self._keys = [
            f"{each.folder}/{shard.name}" for each in tree.generations for shard in each.generation.shards
        ]
        self._in_folder = _shard_folder(tree, remote, self._keys)
        self._threads = RequestThreads(REQUESTS_AT_ONCE)
        self._announced = AnnouncedRanges(MAX_ANNOUNCED_BYTES)

    def close(self) -> None:
        """End the threads, and drop what was announced. The object is not used again."""
        if self._in_folder is not None:
            self._in_folder.close()
        self._threads.close()

    def feed(self, upcoming: Iterator[npt.NDArray[np.int64]], *, num_in_flight: int) -> ShardFeed | None:
        """Download the shards that coming batches want; None where no folder keeps any. See `ShardFolder.feed`."""
        return (
            None if self._in_folder is None else self._in_folder.feed(upcoming, num_in_flight=num_in_flight)
        )

    def read(
        self, ids: npt.NDArray[np.int64], rows: FrameIndex, out: Frames, decode_into: DecodeInto
    ) -> None:
        """Read frames into `out`, in request order. Raises what a store's `read_frames` raises."""
        order = np.argsort(ids, kind="stable")
        places = places_of(ids[order], rows[order])
        read_id, frame = -1, out
        with closing(self.payloads(_once_each(places))) as payloads:
            for place, position in zip(places, order.tolist(), strict=True):
                if place.frame_id == read_id:
                    out[position] = frame
                    continue
                payload = next(payloads)
                read_id, frame = place.frame_id, out[position]
                try:
                    decode_into(payload, frame)
                except ValueError as error:
                    raise self.damaged(place, str(error)) from error

    def read_encoded(self, places: list[Place]) -> list[npt.NDArray[np.uint8]]:
        """The payloads in request order: uint8 (L,) each, all parts of one buffer.

        Raises what a store's `read_encoded` raises.
        """
        ends = np.cumsum([place.byte_length for place in places])
        found = np.split(np.empty(ends[-1] if len(ends) else 0, np.uint8), ends[:-1])[: len(places)]
        order = sorted(range(len(places)), key=lambda position: places[position].frame_id)
        read_id, source = -1, np.empty(0, np.uint8)
        with closing(self.payloads(_once_each([places[position] for position in order]))) as payloads:
            for position in order:
                if places[position].frame_id != read_id:
                    read_id, source = places[position].frame_id, np.frombuffer(next(payloads), np.uint8)
                found[position][:] = source
        return found

    def prefetch(
        self, ids: npt.NDArray[np.int64], places_of_ids: Callable[[npt.NDArray[np.int64]], list[Place]]
    ) -> bool:
        """Ask for the payloads of frames that will be read soon, as far as there is room. True: they take time.

        Frames of shards that are in the folder, or come there, are not asked for.
        """
        if self._in_folder is not None:
            ids = self._in_folder.not_expected(ids)
            if not len(ids):
                return True
        # Damage of the index is raised by `read_frames`, for the batch that it belongs to.
        with suppress(StoreDamagedError):
            unknown = self._announced.unknown(places_of_ids(np.unique(ids)))
            self._threads.submit(self._announced.add(ranges_of(unknown, self)), urgent=False)
        return True

    def payloads(self, places: Sequence[Place]) -> Generator[memoryview]:
        """The payload of each frame. The frames are in the order of ids, and each is there once.

        Raises:
            StoreDamagedError: a payload has not the CRC-32C of its row, also when it was asked for again.
            ObjectStoreError: the store cannot be reached or refuses, or has not such a shard.
        """
        announced = self._announced.take(places)
        with self._held_shards(places) as held:
            yield from self._payloads(places, announced, held)

    def _payloads(
        self, places: Sequence[Place], announced: dict[int, FrameRange], held: Mapping[int, HeldFile]
    ) -> Iterator[memoryview]:
        asked: deque[FrameRange] = deque()
        to_ask = ranges_of(
            [place for place in places if place.frame_id not in announced and place.shard_id not in held],
            self,
        )
        num_ahead, is_all_asked = 0, False
        try:
            for place in places:
                while not is_all_asked and num_ahead < _MAX_AHEAD_BYTES:
                    some: list[FrameRange] = []
                    for each in to_ask:
                        some.append(each)
                        num_ahead += each.num_bytes
                        if num_ahead >= _MAX_AHEAD_BYTES:
                            break
                    else:
                        is_all_asked = True
                    self._threads.submit(some, urgent=True)
                    asked.extend(some)
                of_place = announced.pop(place.frame_id, None)
                if of_place is not None:
                    yield self._of_announced(of_place, place)
                    continue
                if place.shard_id in held:
                    yield self._of_held(held[place.shard_id], place)
                    continue
                yield asked[0].payload(place)
                if place is asked[0].places[-1]:
                    num_ahead -= asked.popleft().num_bytes
        finally:
            for each in asked:  # after an error, or Ctrl-C
                each.cancel()

    def damaged(self, place: Place, reason: str) -> StoreDamagedError:
        """The error to raise for a damaged frame of a shard, with the command to run."""
        url = self._remote.url
        return StoreDamagedError(
            f"{url.object_text(self._keys[place.shard_id])}: frame {place.frame_id}{self._of_camera}: {reason}"
            f"{at_byte(place)}; run cache-verify on {url.text}"
        )

    def _of_announced(self, announced: FrameRange, place: Place) -> memoryview:
        """The payload out of a request that was made ahead; where that failed, out of another one."""
        try:
            return announced.payload(place)
        except StoreError:  # what was wrong may be over
            return self._asked_for(place)

    def _of_held(self, held: HeldFile, place: Place) -> memoryview:
        """The payload out of a shard in the folder; out of a request, where the file is not what the shard is."""
        payload = os.pread(held.number, place.byte_length, place.byte_offset)
        is_right = len(payload) == place.byte_length and (
            not self.verifies or crc32c(payload) == place.crc32c
        )
        if is_right:
            return memoryview(payload)
        if self._in_folder is not None:
            self._in_folder.condemn(place.shard_id)
        return self._asked_for(place)

    def _asked_for(self, place: Place) -> memoryview:
        alone = FrameRange([place], self)
        self._threads.submit([alone], urgent=True)
        return alone.payload(place)

    @contextmanager
    def _held_shards(self, places: Sequence[Place]) -> Iterator[Mapping[int, HeldFile]]:
        """The shards of these places that lie in the folder, held meanwhile. Waits for those that come there."""
        in_folder = self._in_folder
        with ExitStack() as stack:
            held = {}
            if in_folder is not None:
                for shard_id in dict.fromkeys(place.shard_id for place in places):
                    file = in_folder.held(shard_id)
                    if file is not None:
                        held[shard_id] = stack.enter_context(file)
            yield held

    def fetch_range(self, shard_id: int, start: int, num_bytes: int) -> memoryview:
        """Bytes of a shard. Raises what `ObjectClient.get_range` raises."""
        try:
            return self._remote.client.get_range(self._keys[shard_id], start, num_bytes)
        except ObjectMissingError as error:
            raise ObjectMissingError(
                f"{error}; the cache was joined, built anew or removed since it was opened: open it again, or run "
                f"cache-verify on {self._remote.url.text}"
            ) from None


def _once_each(places: list[Place]) -> list[Place]:
    """Places in the order of ids without those that stand there again."""
    return [
        place
        for number, place in enumerate(places)
        if not number or place.frame_id != places[number - 1].frame_id
    ]


def _shard_folder(tree: CacheTree, remote: RemoteCache, keys: Sequence[str]) -> ShardFolder | None:
    if remote.folder is None:
        return None
    shards = [shard for each in tree.generations for shard in each.generation.shards]
    return ShardFolder(
        remote.client,
        remote.folder,
        [
            ShardObject(key=key, name=remote.name_in_folder(key), num_bytes=shard.num_bytes)
            for key, shard in zip(keys, shards, strict=True)
        ],
        num_frames=np.array([shard.num_frames for shard in shards], np.int64),
    )
