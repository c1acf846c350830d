"""What `cache-bias` speaks about: a cache, a folder of videos not built yet, or made-up shard sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.build import read_inputs
from cache_builder.discover import discover_videos
from cache_builder.errors import ConfigError, InputFolderError
from cache_builder.plan import plan_shards
from cache_builder.scans import ScanPool
from cache_builder.settings import BuildSettings, resolve
from frame_store import CacheStore, open_store
from frame_store.manifest import Layout
from frame_store.shared import raise_if_out_of_files
from loader import SamplingError
from loader.sampling.orders import contiguous_videos


@dataclass(frozen=True, kw_only=True)
class BiasSubject:
    """Shard sizes, and whatever else is known."""

    name: str
    layout: Layout | None
    """None where nobody knows how frames lie in the shards."""
    shard_sizes: npt.NDArray[np.int64]
    video_sizes: npt.NDArray[np.int64] | None
    """Frames per video where frame ids run through the videos one after the other."""
    store: CacheStore | None
    """None where there are no pixels to look at."""
    video_names: Sequence[str] | None = None
    """Of the videos of `video_sizes`; None where nobody knows."""

    @property
    def num_frames(self) -> int:
        """Frames in all shards."""
        return int(self.shard_sizes.sum())


def subject_of_cache(path: Path) -> BiasSubject:
    """A finished cache.

    Raises:
        StoreError: no cache there, or a damaged one.
        SamplingError: it holds no frame.
    """
    store = open_store(path)
    if len(store) == 0:
        raise SamplingError(f"{path}: an empty cache, there is nothing to sample")
    layout = store.manifest.layout
    video_sizes, video_names = None, None
    if layout == "video":
        video_ids, video_sizes = contiguous_videos(store)
        video_names = [store.manifest.videos[video_id].path for video_id in video_ids.tolist()]
    return BiasSubject(
        name=str(path),
        layout=layout,
        shard_sizes=store.shard_sizes,
        video_sizes=video_sizes,
        store=store,
        video_names=video_names,
    )


def subjects_of_videos(folder: Path) -> list[BiasSubject]:
    """Both layouts of a cache that `cache-build` would make of a folder, by its packets alone: nothing is decoded.

    And one shard a video, which is how people often start.

    Raises:
        InputFolderError: no such folder, or no video in it.
    """
    _, options = resolve(BuildSettings())
    with ScanPool(num_workers=options.workers) as pool:
        inputs = read_inputs(discover_videos(folder), scan_cache=None, pool=pool)
    packets = [
        (video.relative_path, scan.facts.num_packets)
        for video, scan in zip(inputs.videos, inputs.readable, strict=True)
        if scan is not None
    ]
    sizes = np.array([num_packets for _, num_packets in packets], np.int64)
    if not sizes.sum():
        raise InputFolderError(folder, "none of its videos can be read")
    subjects = []
    for layout, frames_per_shard in (("shuffled", 1000), ("video", 1000), ("video", "video")):
        config, _ = resolve(BuildSettings(layout=layout, frames_per_shard=frames_per_shard))
        plan = plan_shards(sizes.tolist(), config)
        subjects.append(
            BiasSubject(
                name=f"--layout {layout} --frames-per-shard {frames_per_shard}",
                layout=layout,
                shard_sizes=plan.shard_sizes,
                video_sizes=sizes[sizes > 0] if layout == "video" else None,
                store=None,
                video_names=[name for name, size in packets if size] if layout == "video" else None,
            )
        )
    return subjects


def subject_of_sizes(path: Path) -> BiasSubject:
    """Shard sizes from a file: a JSON list, or whole numbers between spaces and line breaks.

    Raises:
        ConfigError: no such file, or something else in it.
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
    return BiasSubject(
        name=str(path),
        layout=None,
        shard_sizes=np.array(sizes, np.int64),
        video_sizes=None,
        store=None,
    )
