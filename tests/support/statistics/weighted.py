"""Laws of weighted sampling, straight from their definition: a dict from frame to weight, and sums over it."""

import numpy as np

from loader.sampling.weights import WHOLE


def target_of(store, weights):
    """Probability of each frame, shape (N,): the video by weight among those with frames, then its frames alike."""
    videos = store.rows_of(np.arange(len(store)))["video_id"].tolist()
    held = {video: weights[video] for video in set(videos)}
    total = sum(held.values())
    return np.array([held[video] / total / videos.count(video) for video in videos])


def law_of_iid(frames, num_frames):
    """What `WeightedIidOrder` draws from its whole numbers: a video by its parts, a place in it uniformly."""
    law = np.zeros(num_frames)
    for video, size in enumerate(frames.weights.video_sizes.tolist()):
        first = int(frames.first_stored[video])
        ids = frames.ids_at(np.arange(first, first + size))
        law[ids] += int(frames.weights.parts[video]) / WHOLE / max(size, 1)
    return law


def law_of_visits(frames, num_frames):
    """What each slot of `WeightedVisitOrder` draws: a shard, a stretch of it, and a place in it uniformly."""
    law = np.zeros(num_frames)
    for shard, parts in enumerate(frames.shard_parts.tolist()):
        if not parts:
            continue
        ends, first_ids, lengths = frames.stretches_of(shard)
        for of_stretch, first, length in zip(np.diff(ends, prepend=0), first_ids, lengths, strict=True):
            law[first : first + length] += parts / WHOLE * int(of_stretch) / WHOLE / length
    return law
