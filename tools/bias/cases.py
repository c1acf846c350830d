"""The cases that `cache-bias` describes: a cache, a folder of videos before a build, or a file of shard sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from frame_cache_tools.bias.views import opened_cache

from cache_builder.errors import ConfigError, InputFolderError, VideoError
from cache_builder.executors import WorkerPool
from cache_builder.folder_scan import scan_videos
from cache_builder.plan import plan_shards
from cache_builder.settings import BuildSettings, resolve
from cache_builder.sources import discover_videos
from frame_store import CacheStore, CameraGroup, base_of
from frame_store.growth import has_grown
from frame_store.manifest import Layout
from frame_store.protocol import FrameStore
from frame_store.shared import raise_if_out_of_files

_PLANNED: Final[tuple[tuple[Layout, int | Literal["video"]], ...]] = (
    ("shuffled", 1000),
    ("video", 1000),
    ("video", "video"),
)


@dataclass(frozen=True, kw_only=True)
class BiasCase:
    """Shard sizes, and what else is known about the frames."""

    name: str
    layout: Layout | None
    """None if it is not known how frames lie in the shards."""
    shard_sizes: npt.NDArray[np.int64]
    video_sizes: npt.NDArray[np.int64] | None
    """Stored frames of each video in source order; None if they are not known."""
    store: FrameStore | None
    """None if there are no pixels."""
    video_names: Sequence[str] | None = None
    """Names of the videos of `video_sizes`; None if they are not known."""
    camera: str | None = None
    """The camera whose pixels are looked at; None for the first one, or for a store without cameras."""
    source_ids: npt.NDArray[np.integer[Any]] | None = None
    """Frame id at each place of the source order; None where the id is the place."""

    has_grown: bool = False
    """Whether builds appended to the cache: each was shuffled by itself, also where generations were joined since."""

    @property
    def num_frames(self) -> int:
        """Frames in all shards."""
        return int(self.shard_sizes.sum())


def case_of_cache(path: Path) -> BiasCase:
    """A finished cache.

    Raises:
        StoreError: the path holds no cache, or a damaged one.
        SamplingError: the cache holds no frame.
    """
    return case_of_store(str(path), opened_cache(path))


def case_of_store(name: str, store: FrameStore, *, camera: str | None = None) -> BiasCase:
    """A finished cache or a cache of cameras, a view of one, or several as one."""
    base = base_of(store)
    if isinstance(base, CameraGroup):
        base = base.leader
    order = store.source_order
    return BiasCase(
        name=name,
        layout=base.common.layout if isinstance(base, CacheStore) else None,
        shard_sizes=store.shard_sizes,
        video_sizes=np.diff(order.first_stored),
        store=store,
        video_names=[video.path for video in store.videos],
        source_ids=order.order,
        camera=camera,
        has_grown=has_grown(store),
    )


def cases_of_videos(folder: Path) -> list[BiasCase]:
    """Both layouts of the cache that `cache-build` would make of a folder, and a cache of one shard for each video.

    Packets are counted, and nothing is decoded. One shard for each video is how people often start.

    Raises:
        InputFolderError: no such folder, or no video in it.
    """
    _, options = resolve(BuildSettings())
    with WorkerPool[Any, Any](num_workers=options.workers) as pool:
        scans = scan_videos(discover_videos(folder), cache_path=None, pool=pool)
    packets = [
        (scan.facts.path, scan.facts.num_packets) for scan in scans if not isinstance(scan, VideoError)
    ]
    sizes = np.array([num_packets for _, num_packets in packets], np.int64)
    if not sizes.sum():
        raise InputFolderError(folder, "none of its videos can be read")
    cases = []
    for layout, frames_per_shard in _PLANNED:
        config, _ = resolve(BuildSettings(layout=layout, frames_per_shard=frames_per_shard))
        plan = plan_shards(sizes.tolist(), config)
        cases.append(
            BiasCase(
                name=f"--layout {layout} --frames-per-shard {frames_per_shard}",
                layout=layout,
                shard_sizes=plan.shard_sizes,
                video_sizes=sizes[sizes > 0] if layout == "video" else None,
                store=None,
                video_names=[name for name, size in packets if size] if layout == "video" else None,
            )
        )
    return cases


def case_of_sizes(path: Path) -> BiasCase:
    """Shard sizes from a file: a JSON list, or whole numbers between spaces and line breaks.

    Raises:
        ConfigError: the file does not exist, or holds anything else.
        OSError: no more files can be opened.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise_if_out_of_files(error)
        raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or 'not a text file'}") from error
    try:
        if text.lstrip().startswith("["):
            sizes = msgspec.json.decode(text, type=list[int])
        else:
            sizes = [int(word) for word in text.split()]
    except (ValueError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path}: expected whole numbers, one for each shard: {error}") from error
    if not sizes or min(sizes) < 0 or not sum(sizes):
        raise ConfigError(f"{path}: expected the frames of each shard, at least one frame in all")
    return BiasCase(
        name=str(path),
        layout=None,
        shard_sizes=np.array(sizes, np.int64),
        video_sizes=None,
        store=None,
    )
