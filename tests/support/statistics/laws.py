"""Laws by the options of a loader, and what its plans really draw."""

import numpy as np

from loader import SamplingSpec
from loader.bias import WindowsOfVideos
from loader.bias.distributions.every_sampling import sampling_law
from loader.sampling.plan import make_plan
from loader.windows import plan_windows, window_spec
from tests.support.caches.array_store import ArrayStore

SPECS = {
    "permutation": {"sampling": "permutation"},
    "iid": {"sampling": "iid"},
    "sequential": {"sampling": "sequential"},
    "visits": {"sampling": "shards", "frames_per_visit": 2},
    "visits, naive": {"sampling": "shards", "frames_per_visit": 2, "shard_choice": "uniform"},
    "visits, again": {"sampling": "shards", "frames_per_visit": 2, "frames_with_replacement": True},
    "block": {"sampling": "block", "shards_per_block": 1},
}


WINDOWS = ("clip_frames", "clip_stride", "frame_offsets", "edges")


def windows_of(video_sizes, options, source_ids=None):
    """The windows among `options` of a loader, over videos of `video_sizes` frames; None for single frames."""
    spec = window_spec(**{name: value for name, value in options.items() if name in WINDOWS})
    if not spec.has_windows:
        return None
    return WindowsOfVideos(spec=spec, video_sizes=np.asarray(video_sizes, np.int64), source_ids=source_ids)


def spec_of(options):
    """The sampling among `options` of a loader."""
    return SamplingSpec(**{name: value for name, value in options.items() if name not in WINDOWS})


def law_of(sizes, *, batch_size, world_size=1, remainder=None, video_sizes=None, **options):
    return sampling_law(
        sizes,
        spec_of(options),
        batch_size=batch_size,
        world_size=world_size,
        remainder=remainder,
        windows=windows_of(video_sizes, options),
    )


def batches_of(sizes, *, batch_size, world_size=1, remainder=None, epoch=0, video_sizes=None, **options):
    """Frame ids of every batch of an epoch, of all ranks; rows of ids for windows."""
    windows = windows_of(video_sizes, options)
    if windows is not None:
        store = ArrayStore(sizes, video_sizes=video_sizes)
        epochs = [
            plan_windows(
                "test",
                store,
                {
                    **options,
                    "batch_size": batch_size,
                    "rank": rank,
                    "world_size": world_size,
                    "remainder": remainder,
                },
            )
            for rank in range(world_size)
        ]
        return [request.cache_ids for of_rank in epochs for request in of_rank.requests(epoch)]
    plans = [
        make_plan(
            sizes, batch_size=batch_size, rank=rank, world_size=world_size, remainder=remainder, **options
        )
        for rank in range(world_size)
    ]
    return [ids for plan in plans for ids in plan.batches(epoch)]


def measured_counts(sizes, **options):
    """How often the ranks together show each frame in an epoch."""
    return np.bincount(np.concatenate(batches_of(sizes, **options)).ravel(), minlength=sum(sizes))


def law_by_steps(batches, num_frames):
    """Each batch counts alike, and its frames share its weight."""
    laws = [np.bincount(np.ravel(ids), minlength=num_frames) / np.size(ids) for ids in batches]
    return np.mean(laws, axis=0)
