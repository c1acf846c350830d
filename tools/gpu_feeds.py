"""Endless batches on a device, from caches and from videos: what the steps of `gpu_acceptance` measure."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from frame_cache_tools.gpu_samples import Samples, exercise_geometry

from cache_builder import LiveStore, open_videos
from frame_store import CacheStore, open_store
from frame_store.frame_index import check_frame_ids
from frame_store.protocol import FrameIds, Frames
from loader import Augmentation, FrameBatch, FrameLoader

MANY_FRAMES: Final = 1_000_000
"""An epoch's length, so that none ends while it is measured."""
FRAME_BYTES: Final = 224 * 224 * 3

Feed = Callable[[], AbstractContextManager[Iterator[FrameBatch]]]
"""Opens batches that go on for ever."""


class RepeatedStore:
    """A cache's frames over and over, as if there were a million: a small cache's epochs end many times a second.

    A frame store, which gives its frames as they are stored, too.
    """

    def __init__(self, store: CacheStore, *, at_least: int = MANY_FRAMES) -> None:
        """Over an open cache, which it closes."""
        self._store = store
        self._times = -(-at_least // len(store))

    @cached_property
    def index(self) -> npt.NDArray[Any]:
        """The cache's rows, again and again."""
        return np.tile(np.asarray(self._store.index), self._times)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, 3)."""
        return self._store.frame_shape

    @cached_property
    def shard_sizes(self) -> npt.NDArray[np.int64]:
        """Frames a shard."""
        return np.tile(self._store.shard_sizes, self._times)

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
        return self._times * len(self._store)

    def read_frames(self, frame_ids: FrameIds, out: Frames | None = None) -> Frames:
        """See `FrameStore`."""
        return self._store.read_frames(self._within(frame_ids), out=out)

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
    """Where batches come from, and where they go."""

    samples: Samples
    device: str
    batch_size: int = 256
    augment: Augmentation | None = None

    def raw(self) -> AbstractContextManager[Iterator[FrameBatch]]:
        """Raw cache, uploaded as it is."""
        return self._cached(self.samples.raw_cache)

    def jpeg_on_cpu(self) -> AbstractContextManager[Iterator[FrameBatch]]:
        """JPEG cache, decoded before it goes up."""
        return self._cached(self.samples.jpeg_cache)

    def jpeg_on_gpu(self) -> AbstractContextManager[Iterator[FrameBatch]]:
        """JPEG cache, decoded behind it."""
        return self._cached(self.samples.jpeg_cache, jpeg_decode="gpu")

    def float32(self) -> AbstractContextManager[Iterator[torch.Tensor]]:
        """Raw cache as many write it: floats made on the host, uploaded from pageable memory."""
        return _floats(self.samples.raw_cache, device=self.device, batch_size=self.batch_size)

    @contextmanager
    def live(self) -> Iterator[Iterator[FrameBatch]]:
        """The videos, random frames of them decoded on the device."""
        with closing(open_live(self.samples, device=self.device)) as store:
            warm_up(store)
            loader = FrameLoader(
                store, batch_size=self.batch_size, device=self.device, augment=self.augment, remainder="drop"
            )
            with closing(endless(loader)) as batches:
                yield batches

    @contextmanager
    def _cached(self, path: Path, **options: Any) -> Iterator[Iterator[FrameBatch]]:  # noqa: ANN401 - FrameLoader's
        with closing(RepeatedStore(open_store(path))) as store:
            loader = FrameLoader(
                store, batch_size=self.batch_size, device=self.device, augment=self.augment, **options
            )
            with closing(endless(loader)) as batches:
                yield batches


@contextmanager
def _floats(path: Path, *, device: str, batch_size: int) -> Iterator[Iterator[torch.Tensor]]:
    with closing(RepeatedStore(open_store(path))) as store:
        loader = FrameLoader(store, batch_size=batch_size, device="cpu", pin_memory=False)
        with closing(endless(loader)) as batches:
            yield (naive_upload(batch.frames, device) for batch in batches)


def naive_upload(frames: torch.Tensor, device: str) -> torch.Tensor:
    """uint8 frames of the host as floats on a device, converted before they go up."""
    return (frames.to(torch.float32) / 255).to(device)


def endless(loader: FrameLoader) -> Iterator[FrameBatch]:
    """Epoch after epoch."""
    while True:
        yield from loader


def open_live(samples: Samples, *, device: str, max_open: int = 64) -> LiveStore:
    """The fast samples, each under several names, so that several threads have videos of their own."""
    geometry = exercise_geometry()
    return open_videos(
        samples.copies,
        device=device,
        size=(geometry.height, geometry.width),
        resize=geometry.resize,
        crop_aspect=geometry.crop_aspect,
        scan_cache=samples.work / "copies.scan",
        max_open=max_open,
    )


def warm_up(store: LiveStore) -> None:
    """Read a frame of every video: a GPU is asked once a video whether it takes it, and that is not to be measured."""
    sizes: Sequence[int] = store.shard_sizes.tolist()
    first = np.cumsum([0, *sizes[:-1]])
    store.read_frames([int(start) for start, size in zip(first, sizes, strict=True) if size])


def synchronize(device: str) -> None:
    """Wait for a GPU."""
    if device == "cuda" and torch.cuda.is_available():
        torch.cuda.synchronize()
