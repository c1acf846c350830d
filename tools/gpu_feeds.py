"""Endless batches on a device, from caches and from videos: what the steps of `gpu_acceptance` measure."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from frame_cache_tools.gpu_findings import Skip
from frame_cache_tools.gpu_samples import Samples, exercise_geometry

from cache_builder import LiveStore, open_videos
from frame_store import CacheStore, CudaUnavailableError, open_store
from frame_store.protocol import FrameIds, FrameRows, Frames, check_frame_ids
from frame_store.shared import num_usable_cpus
from loader import Augmentation, FrameBatch, FrameLoader
from loader.gpu import find_jpeg_decoder

MANY_FRAMES: Final = 1_000_000
"""An epoch's length, so that none ends while it is measured."""
FRAME_BYTES: Final = 224 * 224 * 3
_OPENING_THREADS: Final = 8

T = TypeVar("T")

Feed = Callable[[], AbstractContextManager[Iterable[Any]]]
"""Opens epochs of batches, tensors or `FrameBatch`."""


class StretchedStore:
    """A cache's frames over and over, or the first of them: as many as are wanted.

    A small cache's epochs would end many times a second. It is a frame store, which gives its frames as they are
    stored, too.
    """

    def __init__(self, store: CacheStore, *, num_frames: int = MANY_FRAMES) -> None:
        """Over an open cache, which it closes."""
        self._store = store
        self._num_frames = num_frames

    @cached_property
    def index(self) -> npt.NDArray[Any]:
        """The cache's rows, again and again."""
        rows: npt.NDArray[Any] = self._store.index[np.arange(self._num_frames) % len(self._store)]
        return rows

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, 3)."""
        return self._store.frame_shape

    @cached_property
    def shard_sizes(self) -> npt.NDArray[np.int64]:
        """Frames a shard; the last is cut off."""
        times = -(-self._num_frames // len(self._store))
        ends = np.minimum(np.cumsum(np.tile(self._store.shard_sizes, times)), self._num_frames)
        sizes = np.diff(ends, prepend=0)
        return sizes[sizes > 0]

    @property
    def fingerprint(self) -> str:
        """The cache's."""
        return self._store.fingerprint

    @property
    def may_cross_fork(self) -> bool:
        """As the cache."""
        return self._store.may_cross_fork

    @property
    def encoding_name(self) -> str:
        """The cache's."""
        return self._store.encoding_name

    def __len__(self) -> int:
        return self._num_frames

    def read_frames(self, frame_ids: FrameIds, out: Frames | None = None) -> Frames:
        """See `FrameStore`."""
        return self._store.read_frames(self._within(frame_ids), out=out)

    def rows_of(self, frame_ids: FrameIds) -> FrameRows:
        """See `FrameStore`."""
        return self._store.rows_of(self._within(frame_ids))

    def read_frames_and_rows(
        self, frame_ids: FrameIds, out: Frames | None = None
    ) -> tuple[Frames, FrameRows]:
        """See `FrameStore`."""
        return self._store.read_frames_and_rows(self._within(frame_ids), out=out)

    def read_encoded(self, frame_ids: FrameIds) -> list[npt.NDArray[np.uint8]]:
        """See `HoldsEncodedFrames`."""
        return self._store.read_encoded(self._within(frame_ids))

    def close(self) -> None:
        """Close the cache."""
        self._store.close()

    def _within(self, frame_ids: FrameIds) -> npt.NDArray[np.int64]:
        ids: npt.NDArray[np.int64] = check_frame_ids(frame_ids, num_frames=len(self)) % len(self._store)
        return ids


@dataclass(frozen=True, kw_only=True)
class Feeds:
    """Loaders of one kind of batches, to be closed; each is open as long as its context."""

    samples: Samples
    device: str
    batch_size: int = 256
    num_frames: int = MANY_FRAMES
    """Of an epoch over a cache."""
    augment: Augmentation | None = None

    def raw(self) -> AbstractContextManager[Iterable[FrameBatch]]:
        """Raw cache, uploaded as it is."""
        return self._cached(self.samples.raw_cache, device=self.device, augment=self.augment)

    def jpeg_on_cpu(self) -> AbstractContextManager[Iterable[FrameBatch]]:
        """JPEG cache, decoded before it goes up."""
        return self._cached(self.samples.jpeg_cache, device=self.device, augment=self.augment)

    def jpeg_on_gpu(self) -> AbstractContextManager[Iterable[FrameBatch]]:
        """JPEG cache, decoded where it is used.

        Raises:
            Skip: there is no such decoder.
        """
        if self.device == "cpu":
            raise Skip("a rehearsal on the CPU")
        try:
            find_jpeg_decoder()
        except CudaUnavailableError as error:
            raise Skip(str(error)) from error
        return self._cached(
            self.samples.jpeg_cache, device=self.device, augment=self.augment, jpeg_decode="gpu"
        )

    @contextmanager
    def float32(self) -> Iterator[Iterable[torch.Tensor]]:
        """Raw cache as many write it: floats made on the host, uploaded from pageable memory."""
        with self._cached(self.samples.raw_cache, device="cpu", pin_memory=False) as loader:
            yield _Floats(loader, self.device)

    @contextmanager
    def live(self, **options: Any) -> Iterator[Iterable[FrameBatch]]:  # noqa: ANN401 - FrameLoader's
        """The videos, random frames of them decoded on the device."""
        with closing(open_live(self.samples, device=self.device)) as store:
            yield self.live_over(store, **options)

    def live_over(self, store: LiveStore, **options: Any) -> Iterable[FrameBatch]:  # noqa: ANN401 - as above
        """As `live`, over an open store."""
        return FrameLoader(
            store, batch_size=self.batch_size, device=self.device, augment=self.augment, **options
        )

    @contextmanager
    def _cached(self, path: Path, **options: Any) -> Iterator[Iterable[FrameBatch]]:  # noqa: ANN401 - as above
        with closing(StretchedStore(open_store(path), num_frames=self.num_frames)) as store:
            yield FrameLoader(store, batch_size=self.batch_size, **options)


@dataclass(frozen=True)
class _Floats:
    loader: Iterable[FrameBatch]
    device: str

    def __iter__(self) -> Iterator[torch.Tensor]:
        for batch in self.loader:
            yield naive_upload(batch.frames, self.device)


def naive_upload(frames: torch.Tensor, device: str) -> torch.Tensor:
    """uint8 frames of the host as floats on a device, converted before they go up."""
    return (frames.to(torch.float32) / 255).to(device)


def endless(loader: Iterable[T]) -> Generator[T]:
    """Epoch after epoch."""
    while True:
        yield from loader


def num_in_flight() -> int:
    """Batches that a loader may have read while nobody took any: what comes after them is made as it is taken."""
    return max(8, num_usable_cpus()) + 3


def open_live(samples: Samples, *, device: str) -> LiveStore:
    """The videos for live decoding, at the caches' geometry.

    A frame of each has been read: a GPU is asked once a video whether it takes it, which is not to be measured.
    """
    geometry = exercise_geometry()
    store = open_videos(
        samples.streams,
        device=device,
        size=(geometry.height, geometry.width),
        resize=geometry.resize,
        crop_aspect=geometry.crop_aspect,
        scan_cache=samples.work / "streams.scan",
    )
    ends = np.cumsum(store.shard_sizes)
    with ThreadPoolExecutor(_OPENING_THREADS) as threads:
        for _ in threads.map(lambda end: store.read_frames([int(end) - 1]), ends):
            pass
    return store


def synchronize(device: str) -> None:
    """Wait for a GPU."""
    if device == "cuda" and torch.cuda.is_available():
        torch.cuda.synchronize()
