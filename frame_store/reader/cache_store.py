"""Frames out of a cache. `index.npy` has the place of each payload, so one reader serves tar and Zarr."""

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from frame_store.codec import make_codec
from frame_store.column_files import open_columns, read_dataset
from frame_store.columns import Columns
from frame_store.frame_sequence import FrameSequence
from frame_store.index import FrameIndex
from frame_store.manifest import (
    CacheManifest,
    CacheTree,
    Generation,
    GenerationTree,
    VideoEntry,
    read_tree,
    surviving_tree,
)
from frame_store.names import PixelDtype
from frame_store.protocol import FrameIds, FrameRows, Frames, check_frame_ids, check_out
from frame_store.reader.checked_index import CheckedIndex
from frame_store.reader.content_orders import ContentOrders
from frame_store.reader.payloads import LocalShards
from frame_store.reader.places import IndexedFrames, places_of
from frame_store.reader.remote import FRAMES_AHEAD, RemoteShards, remote_cache, remote_tree
from frame_store.reader.source_files import SourceFiles
from frame_store.reader.store_index import StoreIndex
from frame_store.remote import RemoteCache, RemoteUrl, ShardFeed
from frame_store.shared import counted, flag, user_path, without_controls
from frame_store.source_order import Int64s, SourceOrder
from frame_store.video_table import VideoTable

Reads = Literal["map", "pread"]
"""How frames on a disk are read. `map` copies or decodes a batch out of mapped shards in one call. `pread` maps no
shard, at 0.4 of the speed of raw frames, 0.9 of Zstandard and nearly all of JPEG: a shard that shrinks while it is read
is then an error, never a signal. Caches of more than 32,768 shards are read with `pread`."""


class CacheStore(FrameSequence):
    """A finished cache. Implements `FrameStore`, `PrefetchingStore` and `HoldsEncodedFrames`; threads may share it."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        reads: Reads = "map",
        verify_reads: bool | None = None,
        camera: str | None = None,
        generation: int | None = None,
        folder: str | os.PathLike[str] | None = None,
        folder_bytes: int | None = None,
    ) -> None:
        """Open the cache at `path`, or one camera of a cache of cameras. Frames of forgotten videos are among its own.

        Args:
            path: the folder with `manifest-0000.json`, where a leading `~` is the user's home; or its URL, such as
                `s3://bucket/folder`, of s3, gs, az, http or https.
            reads: see `Reads`. Of a URL they are about the shards in the folder.
            verify_reads: compare each payload with its CRC-32C in the index, so that a flipped bit is an error and not
                a wrong picture. It costs almost nothing for JPEG; raw frames come 0.7 times as fast. None means True
                for a URL, where a wrong payload is asked for again first, and False for a path.
            camera: the name of a camera of a cache of cameras, which is opened alone, with the columns that all share.
            generation: the cache as it was when this generation was the newest one, with the same frame ids; 0 is the
                first build. None opens all generations.
            folder: of a URL: the folder of this machine, shared by processes and by URLs, in which the small files of
                the cache are kept (manifest, index, source order, columns: 48 bytes a frame and more). None means
                `frame-cache` in `$XDG_CACHE_HOME` or `~/.cache`.
            folder_bytes: of a URL: how many bytes of whole shards may lie in that folder beside the small files. None
                keeps none, and frames are read by ranges.

        Raises:
            StoreNotFoundError: `path` holds no cache.
            StoreFormatError: unknown version or broken manifest; a cache of cameras, and `camera` names none.
            ViewError: the cache has no such camera or generation.
            StoreDamagedError: `generation.json` does not fit the manifest, or the index does not fit `generation.json`.
            ValueError: `path` is empty, `reads` is unknown, or `verify_reads` is not a flag.
            OSError: no more files can be opened.
        """
        if reads not in get_args(Reads):
            raise ValueError(f"reads must be one of {', '.join(get_args(Reads))}; found {reads!r}")
        remote = remote_cache(path, folder=folder, folder_bytes=folder_bytes)
        self.reads: Reads = reads
        self.verify_reads = _verifies(verify_reads, remote)
        tree = (
            read_tree(user_path(path), camera=camera)
            if remote is None
            else remote_tree(remote, camera=camera)
        )
        self._open(tree if generation is None else tree.up_to(generation))

    @classmethod
    def of_tree(cls, tree: CacheTree, *, reads: Reads = "map", verify_reads: bool | None = None) -> Self:
        """Open the generations of a tree, such as one alone. Raises as `CacheStore`."""
        store = cls.__new__(cls)
        store.reads, store.verify_reads = reads, _verifies(verify_reads, tree.remote)
        store._open(tree)
        return store

    def _open(self, tree: CacheTree) -> None:
        self.tree = tree
        """The manifest and the generations, which are the cache's or the camera's."""
        self.path = tree.store_path
        """The folder of the cache; of a URL the folder that has its small files."""
        self._index = CheckedIndex(tree)
        self._source_files = SourceFiles(tree)
        self._content_orders = ContentOrders(tree)
        self._is_raw = self.common.encoding.name == "raw"
        self._codec = make_codec(self.common.encoding)
        self._opened = self._open_shards()

    @property
    def url(self) -> RemoteUrl | None:
        """Where the cache lies; None for one on a disk."""
        return None if self.tree.remote is None else self.tree.remote.url

    @property
    def manifest(self) -> CacheManifest:
        """The manifest that was the newest when the cache was opened."""
        return self.tree.manifest

    @property
    def generations(self) -> tuple[GenerationTree, ...]:
        """The generations, in the order of their frames."""
        return self.tree.generations

    @property
    def common(self) -> Generation:
        """The first generation, for what all have in common: container, shape, encoding, layout, configuration."""
        return self.tree.common

    @cached_property
    def video_entries(self) -> list[VideoEntry]:
        """The table of videos by video_id. Read and checked at the first access, then kept: 2.5 kB of memory a video.

        Raises:
            StoreDamagedError: the file is missing or was altered.
            StoreFormatError: it has the recorded hash, and is not the table of this cache.
            OSError: no more files can be opened.
        """
        return self.tree.read_videos()

    @property
    def index(self) -> StoreIndex:
        """The whole index, N rows of `store_index.ROW_DTYPE`, converted at each access. Not checked: see `rows_of`."""
        return StoreIndex(self._index.first_rows(len(self)))

    @property
    def stored_index(self) -> FrameIndex:
        """Rows of `frame_store.names.INDEX_DTYPE`, shape (N,). Most columns are uint32: sums may overflow.

        They are mapped; of several generations they are a copy, 40 bytes a frame, made at each access.
        """
        return self._index.stored

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.common.frame_shape

    @property
    def frame_dtype(self) -> PixelDtype:
        """uint8 for colour, uint16 for 16-bit gray."""
        return self.common.frame_dtype

    @property
    def shard_sizes(self) -> npt.NDArray[np.int64]:
        """Frames per shard, shape (S,)."""
        return self._index.shard_sizes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the inputs and the configuration of all generations; joining them does not change it."""
        return self.tree.fingerprint

    @property
    def forgotten_videos(self) -> Int64s:
        """video_ids that the newest manifest has forgotten, ascending, int64. `open_store` leaves their frames out."""
        forgotten = np.array(self.manifest.forgotten_videos, np.int64)
        return forgotten[forgotten < self.tree.num_videos]

    @cached_property
    def videos(self) -> VideoTable:
        """The table of videos; `video_id` is the row. Read and checked at the first access. Raises as `video_entries`.

        A row takes some 350 bytes of memory.
        """
        return VideoTable(entry.row for entry in self.tree.stream_videos())

    @property
    def source_order(self) -> SourceOrder:
        """The frames video by video, in time order. Its arrays are files, mapped at the first access.

        Raises:
            StoreDamagedError: a file is missing or cannot be right, or was cut while the cache was open.
            OSError: no more files can be opened.
        """
        return self._source_files.order()

    @cached_property
    def columns(self) -> Columns:
        """The columns of the cache; their values are mapped when they are gathered. Raises as `open_columns`."""
        return open_columns(self.tree, first_row=self.source_order.first_row)

    @cached_property
    def dataset(self) -> Mapping[str, Any] | None:
        """What the data set that the videos come from states about itself; None for plain videos."""
        return read_dataset(self.tree)

    @property
    def content_order(self) -> npt.NDArray[np.uint32] | None:
        """Frame ids in content order, uint32, shape (N,); None where the cache has no such order.

        It is mapped where one order has all frames; else see `ContentOrders`. Of the cameras of a cache, the first one
        has it. `frame_store.views.content_ids_at` checks the ids.

        Raises:
            StoreDamagedError: a file is missing, a link, of another type or length, or was cut.
            OSError: no more files can be opened.
        """
        return self._content_orders.array

    @property
    def content_digest(self) -> str | None:
        """SHA-256, hex, that identifies the content order, by the manifest; None where there is none."""
        return self._content_orders.digest

    @property
    def camera(self) -> str | None:
        """The name of the camera whose frames these are; None for a cache without cameras."""
        return None if self.tree.camera is None else self.tree.camera.name

    @property
    def may_cross_fork(self) -> bool:
        """True: a forked child opens the files anew. False for a cache at a URL: requests do not survive a fork."""
        return self.tree.remote is None

    @property
    def frames_ahead(self) -> int:
        """How many frames of an order are to be announced ahead: enough to hide the latency of requests; 0 on a disk.

        See `frame_store.protocol.frames_ahead`.
        """
        return 0 if self.tree.remote is None else FRAMES_AHEAD

    @property
    def encoding_name(self) -> str:
        """`raw`, `jpeg` or `zstd`, from `generation.json`."""
        return self.common.encoding.name

    def frame_ids_of(self, shard_id: int) -> range:
        """Ids of the frames that `generation.json` gives to a shard."""
        return self._index.frame_ids_of(shard_id)

    def __len__(self) -> int:
        return self.tree.num_frames

    def __repr__(self) -> str:
        return (
            f"CacheStore({self.tree.text!r}, {self._of_camera}{counted(len(self), 'frame')} of {self.frame_shape}, "
            f"{self.common.container} {self.common.encoding.name}, {counted(len(self.shard_sizes), 'shard')})"
        )

    @property
    def _of_camera(self) -> str:
        return "" if self.camera is None else f"camera {without_controls(self.camera)!r}, "

    def __getstate__(self) -> dict[str, Any]:
        return {
            "reads": self.reads,
            "verify_reads": self.verify_reads,
            "tree": self.tree,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Open files and maps are not pickled. The copy has the same generations, also where the cache has grown since.
        tree, self.reads, self.verify_reads = state["tree"], state["reads"], state["verify_reads"]
        self._open(surviving_tree(tree))

    def read_frames(self, frame_ids: FrameIds, out: Frames | None = None) -> Frames:
        """Frames in request order: (B, H, W, C) of `frame_dtype`, in `out` if given.

        Raises:
            FrameIdError: an id outside [0, len(self)).
            ValueError: `out` has another shape or dtype, or is not contiguous.
            StoreDamagedError: a shard is missing, truncated or does not decode, or, with `verify_reads`, its bytes are
                not those that were written. The message has shard, frame and the command to run.
            OSError: the disk failed, or the process may open no more files. The message has shard and frame. (A page of
                a mapped shard that the disk cannot read kills the process instead: use `reads="pread"`.)
        """
        return self._read(frame_ids, out)[0]

    def rows_of(self, frame_ids: FrameIds) -> FrameRows:
        """Rows of `store_index.ROW_DTYPE` in request order, shape (B,), checked as for a read.

        Raises:
            FrameIdError: an id outside [0, len(self)).
            StoreDamagedError: the index is damaged, or was cut or changed while the cache was open.
        """
        return self._index.rows(check_frame_ids(frame_ids, num_frames=len(self)))

    def read_frames_and_rows(
        self, frame_ids: FrameIds, out: Frames | None = None
    ) -> tuple[Frames, FrameRows]:
        """`read_frames` and `rows_of` with one look into the index. Raises what `read_frames` raises."""
        return self._read(frame_ids, out)

    def locate(self, frame_ids: FrameIds) -> IndexedFrames:
        """Look frames up, for `read_located`. Their rows are those of the files. Raises as `rows_of`."""
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        return IndexedFrames(ids, self._index.rows(ids), self._index)

    def read_located(self, located: IndexedFrames, out: Frames | None = None) -> Frames:
        """`read_frames` of what `locate` has found. Raises as it does; ValueError for frames of another store."""
        if located.found_in is not self._index:
            raise ValueError("another store has located these frames")
        out = check_out(out, num_frames=len(located.ids), store=self)
        self._shards().read(located.ids, located.rows, out, self._codec)
        return out

    def read_encoded(self, frame_ids: FrameIds) -> list[npt.NDArray[np.uint8]]:
        """Payloads in request order, as stored in the shards: uint8 (L,) each, all parts of one buffer.

        Nothing is decoded. With `verify_reads`, each payload is compared with its CRC-32C.

        Raises:
            FrameIdError: an id outside [0, len(self)).
            StoreDamagedError: a shard is missing or truncated, or, with `verify_reads`, its bytes are not those that
                were written. The message has shard, frame and the command to run.
            OSError: the machine failed, such as the disk. The message has shard and frame.
        """
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        places = places_of(ids, self._index.rows(ids))
        return self._shards().read_encoded(places)

    def prefetch(self, frame_ids: FrameIds) -> bool:
        """Have the system read the frames from the disk, if they are not in memory yet; returns at once.

        A few frames are looked for in memory first, and the others only where one of these is missing. So a call costs
        almost nothing where the cache is in memory. Returns whether one was missing.

        Of a cache at a URL, their payloads are asked for, and kept in memory until they are read, at most 256 MB; the
        result is True.

        Raises:
            FrameIdError: an id outside [0, len(self)).
        """
        ids = check_frame_ids(frame_ids, num_frames=len(self))
        return self._shards().prefetch(ids, lambda some: places_of(some, self._index.rows(some)))

    def feed(self, upcoming: Iterator[npt.NDArray[np.int64]], *, num_in_flight: int) -> ShardFeed | None:
        """See `FetchesShards`; None for a cache on a disk, and where no `folder_bytes` are given."""
        opened = self._shards()
        return (
            opened.feed(upcoming, num_in_flight=num_in_flight) if isinstance(opened, RemoteShards) else None
        )

    def read_payload(self, frame_id: int) -> bytes:
        """Encoded bytes of one frame, without tar and npy headers. Raises as `read_encoded` does."""
        return self.read_encoded([frame_id])[0].tobytes()

    def close(self) -> None:
        """Release files, maps and threads; reading afterwards reopens them."""
        opened, self._opened = self._opened, self._open_shards()
        opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, frame_ids: FrameIds, out: Frames | None) -> tuple[Frames, FrameRows]:
        located = self.locate(frame_ids)
        return self.read_located(located, out), located.rows

    def _open_shards(self) -> LocalShards | RemoteShards:
        maps = self.reads == "map"
        if self.tree.remote is not None:
            return RemoteShards(self.tree, self.tree.remote, maps=maps, verifies=self.verify_reads)
        return LocalShards(self.tree, is_raw=self._is_raw, maps=maps, verifies=self.verify_reads)

    def _shards(self) -> LocalShards | RemoteShards:
        # A forked child makes its own: another thread of the parent may have held the lock at the fork.
        if self._opened.pid != os.getpid():
            self._opened = self._open_shards()
        return self._opened


def _verifies(verify_reads: bool | None, remote: RemoteCache | None) -> bool:
    return remote is not None if verify_reads is None else flag("verify_reads", verify_reads)
