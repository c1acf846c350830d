"""The simplest model that SGD can train: one picture, whose loss is its squared distance from the frames.

A step of size eta moves the picture towards the mean of a batch. The best picture is the mean of all frames. All frames
have the same curvature, so the noise in the long run is exactly what (S43) of loader/bias/SAMPLING.md predicts.
"""

from dataclasses import dataclass
from itertools import islice

import numpy as np

from frame_store.protocol import FrameStore
from study.noise import Reals
from study.samplers import NAIVE, SEQUENTIAL, StudySampler, epochs_of


@dataclass(frozen=True, kw_only=True)
class LongRunNoise:
    """How far the picture stays from the best one, over what independent, uniform frames would give."""

    effect: float
    """Its variance around its own mean."""
    with_bias: float
    """Its mean squared distance from the best picture, which includes the bias."""


def long_run_noise(
    sampler: StudySampler,
    store: FrameStore,
    features: Reals,
    *,
    batch_size: int,
    step_sizes: list[float],
    num_epochs: int,
) -> list[LongRunNoise]:
    """What SGD with each step size gives, after the steps in which it comes near the best picture."""
    epochs = islice(epochs_of(sampler, store, batch_size=batch_size, seed=1), num_epochs)
    means = np.array([features[batch].mean(axis=0) for epoch in epochs for batch in epoch])
    sigma2 = float(np.square(features).sum(axis=1).mean())
    found = []
    for step_size in step_sizes:
        picture, path = means.mean(axis=0), []
        for mean in means:
            picture = picture + step_size * (mean - picture)
            path.append(picture)
        settled = np.array(path[min(len(path) // 2, int(4 / step_size)) :])
        scale = (2 - step_size) / step_size * batch_size / sigma2
        # The picture stays near the mean of all frames, which is 0, but for the naive way and for `sequential`, whose
        # last batch may be shorter and then weighs its frames more.
        centre = settled.mean(axis=0) if sampler in (NAIVE, SEQUENTIAL) else 0.0
        own = np.square(settled - centre).sum(axis=1).mean()
        found.append(
            LongRunNoise(
                effect=float(own) * scale, with_bias=float(np.square(settled).sum(axis=1).mean()) * scale
            )
        )
    return found
