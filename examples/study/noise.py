"""Bias and noise of a batch's mean: predicted by the project's own functions, and measured over real batches."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from frame_store.protocol import FrameStore
from study.samplers import Ids, StudySampler, epochs_of

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The mean of a batch, compared with that of as many independent, uniform frames."""

    design_effect: float
    """Variance of the batch's mean, over that of independent, uniform frames. 1: as good as those."""
    standard_error: float
    """Of the design effect, from the spread between epochs."""
    bias: float
    """Distance of the mean over all batches from the mean of all frames, over sigma, less what chance explains."""
    bias_error: float
    """What chance explains of it."""


def count_batches(epochs: Iterable[list[Ids]], *, num_frames: int, batch_size: int) -> Reals:
    """How often each whole batch has each frame: float32 (epochs, batches an epoch, N)."""
    rows = []
    for epoch in epochs:
        whole = np.stack([batch for batch in epoch if len(batch) == batch_size])
        counts = np.zeros((len(whole), num_frames), np.float32)
        np.add.at(counts, (np.arange(len(whole))[:, None], whole), 1)
        rows.append(counts)
    return np.stack(rows)


def measured_noise(
    sampler: StudySampler,
    store: FrameStore,
    features: dict[str, Reals],
    *,
    batch_size: int,
    num_epochs: int,
    seed: int = 0,
) -> dict[str, Noise]:
    """Over the whole batches of `num_epochs` epochs, by the name of the features, each (N, D) with mean 0."""
    epochs = list(islice(epochs_of(sampler, store, batch_size=batch_size, seed=seed), num_epochs))
    counts = count_batches(epochs, num_frames=len(store), batch_size=batch_size)
    # The bias is that of the frames shown, so frames of a shorter last batch count as well.
    shown = np.stack([np.bincount(np.concatenate(epoch), minlength=len(store)) for epoch in epochs])
    return {name: _noise(values, counts, shown, batch_size) for name, values in features.items()}


def _noise(features: Reals, counts: Reals, shown: Reals, batch_size: int) -> Noise:
    num_epochs, num_batches, num_frames = counts.shape
    small = features.astype(np.float32)
    means = (counts.reshape(-1, num_frames) @ small).reshape(num_epochs, num_batches, -1) / batch_size
    variance = float(np.square(features).sum(axis=1).mean())
    centre = means.mean(axis=(0, 1), dtype=np.float64)
    of_epochs = np.square(means - centre).sum(axis=2).mean(axis=1) * batch_size / variance
    total = shown / shown.sum(axis=1, keepdims=True)
    of_shown = (total @ features).astype(np.float64)
    offset = of_shown.mean(axis=0)
    chance = np.square(of_shown - offset).sum() / max(num_epochs - 1, 1) / num_epochs
    bias = float(np.sqrt(max(0.0, np.square(offset).sum() - chance) / variance))
    error = float(of_epochs.std(ddof=1) / np.sqrt(num_epochs)) if num_epochs > 1 else float("nan")
    return Noise(
        design_effect=float(of_epochs.mean()),
        standard_error=error,
        bias=bias,
        bias_error=float(np.sqrt(chance / variance)),
    )
