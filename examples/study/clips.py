"""The frames of the study: a small raw cache of videos, read by `FrameLoader`."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from frame_cache_tools.samples import write_samples
from frame_cache_tools.samples.sample_videos import sample_specs

from cache_builder import build_cache
from frame_store import open_store, select
from frame_store.protocol import FrameStore
from loader import FrameLoader

SIZE = 64
"""Pixels: side of the frames in the cache."""
SIDE = 16
"""Side of the small pictures that networks see: each pixel is the mean of 4 x 4 pixels of the cache."""
FRAMES_PER_SHARD = 50
MAX_FRAMES = 6000
"""The study holds a matrix of frames by frames in memory: 144 MB for this many."""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """All frames of a store. Row i belongs to frame id i."""

    store: FrameStore
    pictures: torch.Tensor
    """float32 (N, 3 SIDE SIDE): small pictures, levels 0 to 255 divided by 255."""
    video_ids: npt.NDArray[np.int64]
    """(N,)"""
    name: str
    """What the clips are, for the text: `12 real clips`."""

    @property
    def num_videos(self) -> int:
        """Videos that have frames."""
        return len(np.unique(self.video_ids))


def clips_of(videos: Path | None, out: Path, *, quick: bool = False) -> Clips:
    """The frames of `videos`, a folder of clips or a cache. None: sample videos, which are written to `out`.

    Raises:
        SystemExit: there are more frames than the study can hold.
    """
    name = "sample videos"
    if videos is None:
        videos = out / "samples"
        count, most = (6, 30) if quick else (12, 120)
        specs = [replace(spec, num_frames=min(spec.num_frames, most)) for spec in sample_specs(count)]
        for _ in write_samples(videos, specs):
            pass
    elif not (videos / "manifest-0000.json").exists():
        name = "clips"
    if (videos / "manifest-0000.json").exists():
        store, name = open_store(videos), f"videos of the cache {videos.name}"
    else:
        build_cache(
            videos,
            out / "study.cache",
            size=SIZE,
            encoding="raw",
            layout="video",
            frames_per_shard=20 if quick else FRAMES_PER_SHARD,
            workers=1 if quick else None,
            content_order=True,
            overwrite=True,
        )
        store = open_store(out / "study.cache")
    if len(store) > MAX_FRAMES:
        raise SystemExit(
            f"{videos}: {len(store):,} frames, and this study takes at most {MAX_FRAMES:,}: give it fewer clips"
        )
    pictures = torch.zeros(len(store), 3 * SIDE * SIDE)
    video_ids = np.zeros(len(store), np.int64)
    for batch in FrameLoader(store, sampling="sequential", remainder="uneven"):
        small = torch.nn.functional.adaptive_avg_pool2d(batch.frames.float() / 255, SIDE)
        pictures[batch.frame_ids] = small.flatten(1)
        video_ids[batch.frame_ids] = batch.video_ids
    return Clips(
        store=store, pictures=pictures, video_ids=video_ids, name=f"{len(np.unique(video_ids))} {name}"
    )


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Frames to learn from, and frames held out: other videos, and later times of the same videos."""

    train: FrameStore
    """A view; its ids count the frames to learn from."""
    train_ids: npt.NDArray[np.int64]
    other_times: npt.NDArray[np.int64]
    other_videos: npt.NDArray[np.int64]


def parts_of(clips: Clips) -> Parts:
    """Every fourth video is held out, and the last fifth of each other video."""
    train, later, others = [], [], []
    videos = np.unique(clips.video_ids)
    for number, video in enumerate(videos):
        ids = np.asarray(clips.store.ids_of_video(int(video)))
        if number % 4 == 2:
            others.append(ids)
            continue
        cut = len(ids) - len(ids) // 5
        train.append(ids[:cut])
        later.append(ids[cut:])
    train_ids = np.sort(np.concatenate(train))
    return Parts(
        train=select(clips.store, ids=train_ids),
        train_ids=train_ids,
        other_times=np.concatenate(later),
        other_videos=np.concatenate(others),
    )
