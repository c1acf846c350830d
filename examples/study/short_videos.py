"""Many short videos in random order: what strata by time give there, and strata by content."""

from dataclasses import asdict
from typing import Any

import numpy as np

from frame_store import concat, select
from frame_store.protocol import FrameStore
from study.noise import Reals, measured_noise
from study.predictions import predicted_noise
from study.samplers import BY_CONTENT, BY_TIME, ids_by_video, samplers_for

PIECE_FRAMES = 8


def noise_of_pieces(
    store: FrameStore, thumbnails: Reals, *, batch_sizes: list[int], num_epochs: int
) -> dict[str, Any]:
    """The store cut into pieces of 8 frames, which are put into random order: design effects by time and by content.

    The order by content is that of the store: it does not depend on the order of the videos.
    """
    ids = ids_by_video(store)
    pieces = [np.sort(ids[start : start + PIECE_FRAMES]) for start in range(0, len(ids), PIECE_FRAMES)]
    np.random.default_rng(0).shuffle(pieces)
    cut = concat([select(store, ids=piece) for piece in pieces])
    cases = {"by time": (BY_TIME, cut, thumbnails[np.concatenate(pieces)])}
    if BY_CONTENT in samplers_for(store):
        cases["by content"] = (BY_CONTENT, store, thumbnails)
    found: dict[str, Any] = {
        "num_pieces": len(pieces),
        "piece_frames": PIECE_FRAMES,
        "batch_sizes": batch_sizes,
    }
    for name, (sampler, frames, features) in cases.items():
        found[name] = []
        for size in batch_sizes:
            measured = measured_noise(
                sampler, frames, {"thumbnails": features}, batch_size=size, num_epochs=num_epochs
            )["thumbnails"]
            predicted = predicted_noise(sampler, frames, features, batch_size=size)
            found[name].append(
                {"predicted": None if predicted is None else predicted.design_effect, **asdict(measured)}
            )
    return found
