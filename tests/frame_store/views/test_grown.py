"""Views of caches that have grown and that have forgotten videos: names, splits."""

from itertools import pairwise

import numpy as np
import pytest

from frame_store import concat, open_store, select, split
from frame_store.errors import ColumnError
from frame_store.reader import CacheStore
from frame_store.source_order import source_order_of_rows
from frame_store.tables import JoinTarget, join_tables, read_table
from frame_store.views import forgotten_videos
from loader.columns import join_columns
from tests.support.caches.camera_cache import CAMERAS, episode_name
from tests.support.grown.steps import commit, grow
from tests.support.grown.written import write_grown

SIZES = ((7, 3, 12, 5, 2, 4, 1, 6), (3, 9), (11, 4, 6))
SEEDS = (0, 1, 3)
SHARES = {"train": 0.6, "val": 0.4}


@pytest.fixture(scope="module", params=["plain", "cameras"])
def stages(request, tmp_path_factory):
    """The cache after each of its generations, and after two of its videos were forgotten."""
    folder = tmp_path_factory.mktemp("grown")
    options = {"cameras": CAMERAS} if request.param == "cameras" else {"with_spans": True}
    cache, _ = write_grown(folder, generations=SIZES, stride=2, content=False, **options)
    stores = [open_store(cache, generation=number) for number in range(len(SIZES))]
    commit(cache, forgotten_videos=[1, 8])
    return [*stores, open_store(cache)]


def parts_by_path(store, **options):
    parts = split(store, SHARES, **options)
    return {video.path: name for name, part in parts.items() for video in part.videos}


@pytest.mark.parametrize("group", [False, True])
def test_growing_and_forgetting_move_no_video_to_another_part(stages, group):
    moved = set()
    for seed in SEEDS:
        of_stages = []
        for store in stages:
            names = [f"scene {int(video.path[-1]) % 4}" for video in store.videos]
            of_stages.append(parts_by_path(store, seed=seed, **({"group": names} if group else {})))
        for earlier, later in pairwise(of_stages):
            common = earlier.keys() & later.keys()
            assert {path: earlier[path] for path in common} == {path: later[path] for path in common}
        moved.add(tuple(sorted(of_stages[0].items())))
        assert len(of_stages[2]) == 13 and len(of_stages[3]) == 11
    assert len(moved) > 1  # the seeds differ


@pytest.fixture(scope="module")
def renewed(tmp_path_factory):
    """A cache whose first video was forgotten and came again with other frames."""
    folder = tmp_path_factory.mktemp("renewed")
    cache, _ = write_grown(folder, generations=[(7, 3, 12, 5)], columns=False, content=False)
    _, (other,) = write_grown(folder / "other", generations=[(8,)], columns=False, content=False)
    commit(cache, forgotten_videos=[0, 2])
    return grow(cache, other)


def test_a_path_means_the_video_that_is_not_forgotten(renewed):
    raw, live = CacheStore(renewed), open_store(renewed)
    assert [video.path for video in raw.videos].count(episode_name(0)) == 2
    assert forgotten_videos(raw).tolist() == [0, 2]
    for store in (raw, live):
        chosen = select(store, videos=[episode_name(0)])
        assert chosen.video_ids.tolist() == [4] and len(chosen) == 8
    assert select(raw, videos=[episode_name(2)]).video_ids.tolist() == [2]  # nobody else has the path
    assert select(raw, videos=[episode_name(0), episode_name(1)]).video_ids.tolist() == [1, 4]
    joined = concat([raw, live, raw])
    assert forgotten_videos(joined).tolist() == [0, 2, 8, 10]
    assert select(joined, videos=[episode_name(0)]).video_ids.tolist() == [4, 9, 14]


def test_a_table_means_the_videos_that_are_not_forgotten(renewed):
    live = open_store(renewed)
    table = {"video": [episode_name(0), episode_name(1), episode_name(3)], "score": [10, 11, 13]}
    column = join_columns(live, table)["score"]
    assert column.gather(np.array([1, 3, 4])).tolist() == [11, 13, 10]
    assert column.gather_valid(np.arange(5)).tolist() == [False, True, False, True, True]
    frames = {"video": [episode_name(0)] * 8, "frame": np.arange(8), "x": np.arange(8)}
    with pytest.raises(ColumnError, match=r"8 of 35 decoded frames have no row: 'episode_000001' frame 0"):
        join_columns(live, frames)
    # A table from before a video was forgotten still gives its values, and need not fit what is gone.
    full = {"video": [episode_name(2)] * 3 + [episode_name(video) for video in (0, 1, 3)]}
    column = join_columns(live, full | {"score": np.arange(6)})["score"]
    assert column.gather_valid(np.arange(5)).tolist() == [False, True, False, True, True]
    assert column.gather(np.array([1, 3, 4])).tolist() == [4, 5, 3]


def test_an_exact_path_of_a_forgotten_video_is_no_other_name_of_another():
    target = JoinTarget(
        paths=["a.mp4", "new/a.mp4"],
        verdicts=["whole", "whole"],
        source_order=source_order_of_rows(np.array([0, 1]), np.array([0, 0]), num_decoded=[1, 1]),
        forgotten=[0],
    )
    join = join_tables([read_table({"video": ["a.mp4", "new/a.mp4"], "score": [1, 2]})], target)
    assert join.columns[0].table_rows.tolist() == [0, 1]
    join = join_tables([read_table({"video": ["a"], "score": [1]})], target)
    assert join.columns[0].table_rows.tolist() == [-1, 0]
