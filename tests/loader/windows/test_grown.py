"""Windows, clips and columns of a cache that has grown are those of the caches of its generations."""

import shutil

import pytest

from frame_store import open_store
from loader import FrameLoader
from tests.support.caches.camera_cache import CAMERAS
from tests.support.grown.steps import commit
from tests.support.grown.written import write_grown

WINDOWS = {
    "clips": {"clip_frames": 3, "sampling": "sequential"},
    "strided clips": {"clip_frames": 2, "clip_stride": 2, "sampling": "permutation", "seed": 1},
    "whole": {"frame_offsets": [-1, 0, 2], "edges": "whole", "sampling": "permutation", "seed": 0},
    "padded": {"frame_offsets": [-2, 0, 1], "sampling": "stratified", "seed": 0},
    "by seconds": {
        "frame_offsets_seconds": [0.0, 0.08],
        "column_offsets": {"action": [-1, 0, 3]},
        "columns": ["action"],
        "sampling": "sequential",
    },
}


@pytest.fixture(scope="module", params=[{}, {"stride": 2}, {"cameras": CAMERAS, "stride": 2}], ids=str)
def grown(request, tmp_path_factory):
    return write_grown(tmp_path_factory.mktemp("grown"), content=False, **request.param)


def shown(store, options, *, first_frame=0):
    """What each anchor shows, by its id in the grown cache: ids, marks, places, pixels, columns."""
    found = {}
    for batch in FrameLoader(store, batch_size=4, remainder="uneven", **options):
        frames = batch.frames if isinstance(batch.frames, dict) else {"": batch.frames}
        for number, anchor in enumerate(batch.frame_ids.tolist()):
            assert anchor + first_frame not in found
            found[anchor + first_frame] = [
                (batch.cache_ids[number] + first_frame).tolist(),
                batch.frame_is_pad[number].tolist(),
                batch.frame_in_video[number].tolist(),
                {name: each[number].numpy().tobytes() for name, each in frames.items()},
                {name: each[number].numpy().tobytes() for name, each in batch.columns.items()},
            ]
    return found


@pytest.mark.filterwarnings("ignore:.* shard has fewer frames", "ignore:.*too short")
@pytest.mark.parametrize("options", WINDOWS.values(), ids=WINDOWS)
def test_windows_are_those_of_the_generations(grown, options):
    cache, parts = grown
    expected, first = {}, 0
    for part in parts:
        store = open_store(part)
        expected |= shown(store, options, first_frame=first)
        first += len(store)
    found = shown(open_store(cache), options)
    assert found == expected
    video_ids = open_store(cache).rows_of(range(first))["video_id"]
    assert all(len(set(video_ids[ids])) == 1 for ids, *_ in found.values())


def test_windows_of_forgotten_videos_are_not_drawn(grown, tmp_path):
    cache = shutil.copytree(grown[0], tmp_path / "cache")
    options = WINDOWS["whole"]
    everything = shown(open_store(cache), options)
    commit(cache, forgotten_videos=[2, 4])
    live = open_store(cache)
    found = shown(live, options)
    video_ids = live.base.rows_of(range(len(live.base)))["video_id"]
    kept = {tuple(ids): rest for ids, *rest in everything.values() if video_ids[ids[0]] not in (2, 4)}
    assert {tuple(ids): rest for ids, *rest in found.values()} == kept
