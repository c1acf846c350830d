"""`cache-bias` counts frames of 16-bit gray like any other; `cache-bench` says that it measures colour alone."""

import numpy as np
import pytest
from frame_cache_tools.bench.inputs import look_at_cache

from cache_builder import build_cache
from cache_builder.errors import InputFolderError
from frame_store import open_store
from loader.bias import thumbnails
from tests.support.bias_command import samplers
from tests.support.depth.level_videos import ramps, write_levels


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number in range(4):
        levels = ramps(num_frames=8, height=32, width=32) // 8 + 16_000 * number
        write_levels(folder / f"{number}.mkv", levels)
    path = tmp_path_factory.mktemp("caches") / "cache"
    build_cache(folder, path, pixel="gray16", size=32, workers=1, frames_per_shard=8, layout="video")
    return path


def test_bias_sees_levels_beyond_eight_bits(cache):
    store = open_store(cache)
    features = thumbnails(store, size=4)(np.arange(len(store)))
    assert features.shape == (32, 16)
    np.testing.assert_allclose(features.mean(axis=1), store[:].mean(axis=(1, 2, 3)), rtol=1e-6)
    (rows,) = samplers(cache, "--batch-size", "4")
    assert len(rows) >= 3 and all(row["effective_batch"] for row in rows.values())


def test_bench_refuses_by_name(cache):
    with pytest.raises(
        InputFolderError, match=r"a cache of pixel 'gray16' \(16-bit gray\); cache-bench compares"
    ):
        look_at_cache(cache)
