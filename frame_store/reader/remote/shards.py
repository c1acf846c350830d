"""Payloads of a remote cache: from shards that lie in the folder, or by ranged requests, many at once."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

import numpy as np
import numpy.typing as npt

from frame_store.codec import Payload, PixelCodec, crc32c
from frame_store.errors import ObjectMissingError, StoreDamagedError
from frame_store.manifest import CacheTree
from frame_store.protocol import FrameRows, Frames
from frame_store.reader.places import Place, at_byte, places_of
from frame_store.reader.remote.announced import AnnouncedRanges
from frame_store.reader.remote.asked import AskedRanges
from frame_store.reader.remote.ranges import ranges_of
from frame_store.remote import HeldFile, RemoteCache, RequestThreads, ShardFeed, ShardFolder, ShardObject
from frame_store.shared import without_controls

REQUESTS_AT_ONCE: Final = 128
"""Of a store and process. At 30 ms a request that is at most 4,200 frames a second."""
FRAMES_AHEAD: Final = 1024
"""That a loader announces: the requests under way, and as many again for each of the batches that are decoded."""
MAX_ANNOUNCED_BYTES: Final = 256 << 20


class RemoteShards:
    """The shards of a tree whose cache lies in an object store. Threads may share it; each process makes its own."""

    def __init__(self, tree: CacheTree, remote: RemoteCache, *, maps: bool, verifies: bool) -> None:
        """Of all generations of a tree. Asks for nothing. `maps` asks for maps of the shards in the folder."""
        self.pid = os.getpid()
        self._maps = maps
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

    def read(self, ids: npt.NDArray[np.int64], rows: FrameRows, out: Frames, codec: PixelCodec) -> None:
        """Read frames into `out`, in request order. Raises what a store's `read_frames` raises."""
        order = np.argsort(ids, kind="stable")
        places = places_of(ids[order], rows[order])
        read_id, read_position = -1, -1
        again: list[tuple[int, int]] = []
        # Frames of shards in the folder are decoded together, with few steps between two frames.
        at_hand: list[tuple[Place, Payload, Frames]] = []
        with self._held_shards(places) as held, self._asked(places, held) as asked:
            mapped = {shard_id: self._mapped(file) for shard_id, file in held.items()}
            for place, position in zip(places, order.tolist(), strict=True):
                if place.frame_id == read_id:
                    again.append((position, read_position))
                    continue
                read_id, read_position = place.frame_id, position
                file = held.get(place.shard_id)
                if file is None:
                    self._decode([(place, asked.payload(place), out[position])], codec)
                else:
                    payload = self._of_held(file, mapped[place.shard_id], place, asked)
                    at_hand.append((place, payload, out[position]))
            self._decode(at_hand, codec)
        for position, read_position in again:
            out[position] = out[read_position]

    def _decode(self, some: list[tuple[Place, Payload, Frames]], codec: PixelCodec) -> None:
        try:
            codec.decode_all([payload for _, payload, _ in some], [frame for _, _, frame in some])
        except ValueError:
            for place, payload, frame in some:
                try:
                    codec.decode_into(payload, frame)
                except ValueError as error:
                    raise self.damaged(place, str(error)) from error

    def read_encoded(self, places: list[Place]) -> list[npt.NDArray[np.uint8]]:
        """The payloads in request order: uint8 (L,) each, all parts of one buffer.

        Raises what a store's `read_encoded` raises.
        """
        ends = np.cumsum([place.byte_length for place in places])
        found = np.split(np.empty(ends[-1] if len(ends) else 0, np.uint8), ends[:-1])[: len(places)]
        order = sorted(range(len(places)), key=lambda position: places[position].frame_id)
        in_order = [places[position] for position in order]
        read_id, source = -1, np.empty(0, np.uint8)
        with self._held_shards(in_order) as held, self._asked(in_order, held) as asked:
            for place, position in zip(in_order, order, strict=True):
                if place.frame_id != read_id:
                    file = held.get(place.shard_id)
                    payload = (
                        asked.payload(place) if file is None else self._of_held(file, None, place, asked)
                    )
                    read_id, source = place.frame_id, np.frombuffer(payload, np.uint8)
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

    def damaged(self, place: Place, reason: str) -> StoreDamagedError:
        """The error to raise for a damaged frame of a shard, with the command to run."""
        url = self._remote.url
        return StoreDamagedError(
            f"{url.object_text(self._keys[place.shard_id])}: frame {place.frame_id}{self._of_camera}: {reason}"
            f"{at_byte(place)}; run cache-verify on {url.text}"
        )

    def _mapped(self, held: HeldFile) -> memoryview | None:
        """The content of a shard in the folder; None where it is to be read with `pread`."""
        if self._maps:
            with suppress(OSError):  # too few addresses (ulimit -v), or the file is empty
                return held.memory
        return None

    def _of_held(
        self, held: HeldFile, memory: memoryview | None, place: Place, asked: AskedRanges
    ) -> Payload:
        """The payload out of a shard in the folder; where its bytes are not what the shard has, out of a request."""
        first, num_bytes = place.byte_offset, place.byte_length
        payload: Payload = (
            os.pread(held.number, num_bytes, first) if memory is None else memory[first : first + num_bytes]
        )
        if len(payload) == num_bytes and (not self.verifies or crc32c(payload) == place.crc32c):
            return payload
        if self._in_folder is not None:
            self._in_folder.condemn(place.shard_id)
        return asked.asked_alone(place)

    def _asked(self, places: Sequence[Place], held: Mapping[int, HeldFile]) -> AskedRanges:
        """What gives the payloads of the places, in the order of ids, whose shards are not held."""
        once = _once_each(places)
        announced = self._announced.take(once)
        return AskedRanges(
            [place for place in once if place.shard_id not in held],
            self,
            announced=announced,
            submit=lambda ranges: self._threads.submit(ranges, urgent=True),
        )

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


def _once_each(places: Sequence[Place]) -> list[Place]:
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
