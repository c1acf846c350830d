# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""The worst data for `block` over equal shards, against every epoch."""

import itertools

import numpy as np
import pytest

from loader.bias.pairs import lags_of_blocks, worst_block_effect
from tests.support.statistics.enumeration import SUMMED, assert_equal, whole_batches
from tests.support.statistics.spread_orders import nested_blocks


@pytest.mark.parametrize(
    ("sizes", "block_frames", "batch_size"),
    [([2] * 3, 4, 2), ([3] * 3, 5, 4), ([3] * 3, 9, 3), ([4], 4, 2), ([2] * 4, 3, 5)],
)
def test_S25_the_worst_data_of_a_block_over_equal_shards(sizes, block_frames, batch_size, monkeypatch):
    """Frames lie in their order in the shards; the greatest eigenvalue over every epoch."""
    num_frames, ends = sum(sizes), np.cumsum(sizes)
    shards = [list(range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    circles = [list(itertools.chain(*order)) for order in itertools.permutations(shards)]
    streams = [np.roll(circle, -cut) for circle in circles for cut in range(num_frames)]
    outcomes = whole_batches(nested_blocks(streams, block_frames), batch_size)
    shown = np.zeros((len(outcomes.frame_ids), num_frames))
    np.add.at(shown, (np.arange(len(shown))[:, None], outcomes.frame_ids), 1 / batch_size)
    covariance = batch_size * num_frames * (shown.T * outcomes.probability) @ (shown - 1 / num_frames)
    worst = np.linalg.eigvalsh((covariance + covariance.T) / 2)[-1]
    lags = lags_of_blocks(num_frames, block_frames=block_frames, batch_size=batch_size)
    options = {"shard_size": sizes[0], "num_shards": len(sizes), "batch_size": batch_size}
    assert_equal(worst_block_effect(lags, **options), worst, SUMMED)
    monkeypatch.setattr("loader.bias.pairs.worst_block.MAX_FRAMES", 1)
    assert worst_block_effect(lags, **options) >= worst - 1e-9
