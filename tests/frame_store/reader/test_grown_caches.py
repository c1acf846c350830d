"""A cache of several generations against the caches that it was put together from."""

import gc
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from frame_store import open_store
from frame_store.errors import StoreDamagedError, StoreFormatError, ViewError
from frame_store.manifest import Encoding
from frame_store.reader import CacheStore
from tests.support.caches.camera_cache import CAMERAS, spelt
from tests.support.caches.golden_stores import golden_frames, write_store
from tests.support.grown.steps import commit, grow
from tests.support.grown.written import GENERATIONS, write_grown

KINDS = {
    "wds-jpeg": {"encoding": Encoding(name="jpeg", quality=95, chroma="444")},
    "wds-raw-strided": {"stride": 2},
    "zarr-raw-video": {"container": "zarr", "layout": "video"},
    "zarr-zstd-strided": {
        "container": "zarr",
        "encoding": Encoding(name="zstd", level=3),
        "stride": 3,
        "frames_per_shard": 3,
    },
    "wds-raw-video-strided": {"layout": "video", "stride": 2, "frames_per_shard": 2},
}


def write_gray(folder):
    """Of 16-bit gray, without columns and content orders."""
    frames, parts = golden_frames("wds-raw-gray16"), []
    for number, some in enumerate((frames, frames[2:9], frames[5:])):
        parts.append(folder / str(number))
        write_store(
            parts[-1],
            "wds",
            Encoding(name="raw"),
            some,
            layout="shuffled",
            stride=2,
            video_paths=[f"{number}/a.mp4", f"{number}/b.mp4"],
        )
    cache = shutil.copytree(parts[0], folder / "cache")
    for part in parts[1:]:
        grow(cache, part)
    return cache, parts


@pytest.fixture(scope="module", params=[*KINDS, "wds-raw-gray16"])
def grown(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grown")
    if request.param == "wds-raw-gray16":
        return write_gray(folder)
    return write_grown(folder, **KINDS[request.param])


class Joined:
    """What a store of some generations must hold, by the caches of one generation alone."""

    def __init__(self, parts):
        self.stores = [CacheStore(part) for part in parts]
        self.frames = np.concatenate([store.read_frames(range(len(store))) for store in self.stores])
        rows = [store.rows_of(range(len(store))) for store in self.stores]
        shards = np.cumsum([0, *(len(store.shard_sizes) for store in self.stores)])
        videos = np.cumsum([0, *(len(store.videos) for store in self.stores)])
        for part, first_shard, first_video in zip(rows, shards[:-1], videos[:-1], strict=True):
            part["shard_id"] += first_shard
            part["video_id"] += first_video
        self.rows = np.concatenate(rows)
        self.payloads = [
            payload.tobytes() for store in self.stores for payload in store.read_encoded(range(len(store)))
        ]
        self.shard_sizes = np.concatenate([store.shard_sizes for store in self.stores])
        self.paths = [video.path for store in self.stores for video in store.videos]
        self.first_videos, self.first_frames = videos, np.cumsum([0, *map(len, self.stores)])

    def check(self, store):
        generator = np.random.default_rng(0)
        ids = np.arange(len(self.frames))
        batches = [generator.choice(ids, 9), ids, ids[::-1], ids[:0], np.array([ids[-1], 0, ids[-1]])]
        assert len(store) == len(ids)
        for batch in batches:
            np.testing.assert_array_equal(store.read_frames(batch), self.frames[batch])
            frames, rows = store.read_frames_and_rows(batch)
            np.testing.assert_array_equal(frames, self.frames[batch])
            for some in (rows, store.rows_of(batch)):
                assert some.dtype == self.rows.dtype
                assert some.tobytes() == self.rows[batch].tobytes()  # NaN is equal to itself
            assert [payload.tobytes() for payload in store.read_encoded(batch)] == [
                self.payloads[frame] for frame in batch
            ]
        assert np.asarray(store.index).tobytes() == self.rows.tobytes()
        np.testing.assert_array_equal(store.index["video_id"], self.rows["video_id"])
        np.testing.assert_array_equal(store.shard_sizes, self.shard_sizes)
        assert [video.path for video in store.videos] == self.paths
        ends = np.cumsum(self.shard_sizes)
        assert [store.frame_ids_of(shard).stop for shard in range(len(ends))] == ends.tolist()
        self.check_source_order(store)
        self.check_columns(store)
        self.check_content(store)

    def check_source_order(self, store):
        order = store.source_order
        assert order.num_videos == len(self.paths)
        for alone, first_video, first_frame in zip(
            self.stores, self.first_videos, self.first_frames, strict=False
        ):
            for video in range(len(alone.videos)):
                ids = alone.ids_of_video(video)
                np.testing.assert_array_equal(store.ids_of_video(first_video + video), ids + first_frame)
                own = alone.source_order
                frames = np.arange(alone.videos[video].num_frames_decoded)
                here, there = (
                    each.rows_of(np.full(len(frames), number), frames)
                    for each, number in ((own, video), (order, first_video + video))
                )
                np.testing.assert_array_equal(order.source_pts[there], own.source_pts[here])
                places, places_there = (
                    each.places_of(np.full(len(frames), number), frames)
                    for each, number in ((own, video), (order, first_video + video))
                )
                is_stored = places >= 0
                np.testing.assert_array_equal(places_there >= 0, is_stored)
                np.testing.assert_array_equal(
                    order.ids_at(places_there[is_stored]), own.ids_at(places[is_stored]) + first_frame
                )

    def check_columns(self, store):
        assert set(store.columns) == set(self.stores[0].columns)
        for name, column in store.columns.items():
            of_parts = [alone.columns[name] for alone in self.stores]
            expected = np.concatenate([part.gather(np.arange(len(part))) for part in of_parts])
            assert len(column) == len(expected)
            np.testing.assert_array_equal(column.gather(np.arange(len(column))), expected)

    def check_content(self, store):
        orders = [alone.content_order for alone in self.stores]
        if orders[0] is None:
            assert store.content_order is None
            return
        expected = [order + first for order, first in zip(orders, self.first_frames, strict=False)]
        np.testing.assert_array_equal(store.content_order, np.concatenate(expected))


@pytest.mark.parametrize("reads", ["map", "pread"])
def test_a_grown_cache_holds_what_its_generations_hold(grown, reads):
    cache, parts = grown
    with open_store(cache, reads=reads, verify_reads=True) as store:
        everything = Joined(parts)
        everything.check(store)
        everything.check(pickle.loads(pickle.dumps(store)))
        assert store.prefetch(range(len(store))) in (True, False)


def test_earlier_generations_are_opened_alone(grown):
    cache, parts = grown
    prints = set()
    for newest in range(len(parts)):
        with open_store(cache, generation=newest) as store:
            Joined(parts[: newest + 1]).check(store)
            Joined(parts[: newest + 1]).check(pickle.loads(pickle.dumps(store)))
            prints |= {store.fingerprint, *([store.content_digest] if store.content_digest else [])}
        with CacheStore.of_tree(CacheStore(cache).tree.alone(newest)) as alone:
            np.testing.assert_array_equal(
                alone.read_frames(range(len(alone))),
                CacheStore(parts[newest]).read_frames(range(len(alone))),
            )
    assert len(prints) in (len(parts), 2 * len(parts))
    assert open_store(cache).fingerprint in prints
    with pytest.raises(ViewError, match=f"no generation {len(parts)}; the cache has 3 generations, 0 to 2"):
        open_store(cache, generation=len(parts))


def test_a_pickled_reader_keeps_the_version_that_it_opened(grown, tmp_path):
    cache = shutil.copytree(grown[0], tmp_path / "cache")
    store = open_store(cache)
    copied = pickle.dumps(store)
    commit(cache, forgotten_videos=[0])
    assert pickle.loads(copied).manifest.version == store.manifest.version
    assert len(pickle.loads(copied)) == len(store) == len(CacheStore(cache))


@pytest.mark.parametrize("seeds", [(0, 0), (0, 1)], ids=["same ids", "other ids"])
def test_cameras_of_several_generations_show_one_moment(tmp_path, seeds):
    cache, _ = write_grown(tmp_path, cameras=CAMERAS, seeds=seeds, stride=2, encoding=Encoding(name="raw"))
    group = open_store(cache)
    rows = group.rows_of(range(len(group)))
    local = rows["video_id"] - np.repeat(
        np.cumsum([0, *map(len, GENERATIONS)])[:-1],
        [sum(-(-size // 2) for size in sizes) for sizes in GENERATIONS],
    )
    for number, name in enumerate(CAMERAS):
        found = spelt(group.read_frames(range(len(group)), camera=name))
        np.testing.assert_array_equal(found[:, 0], number)
        np.testing.assert_array_equal(found[:, 1], local)
        np.testing.assert_array_equal(found[:, 2], rows["frame_in_video"])
        alone = open_store(cache, camera=name)
        assert len(alone) == len(group) and set(alone.columns) == {"action"}
        is_same = group.cameras[name].__class__ is CacheStore
        assert is_same == (number == 0 or seeds[0] == seeds[1])
    assert group.content_order is not None
    assert len(group.videos) == 7
    commit(cache, forgotten_videos=[0, 4])
    view = open_store(cache)
    left = np.flatnonzero(~np.isin(rows["video_id"], [0, 4]))
    assert len(view) == len(left)
    for number, name in enumerate(CAMERAS):
        found = spelt(view.cameras[name].read_frames(range(len(view))))
        np.testing.assert_array_equal(found[:, 0], number)
        np.testing.assert_array_equal(found[:, 1:], np.stack([local, rows["frame_in_video"]], axis=1)[left])


def test_generations_that_do_not_agree_are_refused(tmp_path):
    cache, _ = write_grown(tmp_path, generations=GENERATIONS[:1], columns=False, content=False)
    _, (other,) = write_grown(
        tmp_path / "other", generations=[(4,)], columns=False, content=False, layout="video"
    )
    grow(cache, other)
    with pytest.raises(StoreFormatError, match="layout is video, the first generation has shuffled"):
        open_store(cache)


def test_source_order_of_more_generations_than_are_kept_open(tmp_path, monkeypatch):
    cache, _ = write_grown(tmp_path, generations=((3, 2), (4,), (1, 2)), stride=2)
    with CacheStore(cache) as store:
        expected = store.source_order
        kept = np.asarray(expected.source_pts)
    monkeypatch.setattr("frame_store.reader.source_files.MANY_GENERATIONS", 2)
    before = len([*Path("/proc/self/fd").iterdir()])
    found = CacheStore(cache).source_order  # the store may be gone: the order keeps its maps
    gc.collect()
    assert len([*Path("/proc/self/fd").iterdir()]) <= before
    for name in ("first_row", "first_stored", "order", "source_frames"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_array_equal(np.asarray(found.source_pts), kept)


def test_an_id_of_another_generation_is_damage(tmp_path):
    cache, _ = write_grown(tmp_path, generations=((3, 2), (4,)), content=False)
    file = CacheStore(cache).generations[1].path / "order.npy"
    order = file.read_bytes()
    for wrong in (4, 2**32 - 5):  # the second one would wrap around to frame 0
        file.write_bytes(order[:-4] + np.uint32(wrong).tobytes())
        with pytest.raises(StoreDamagedError, match=rf"order\.npy: frame id {wrong} is outside \[0, 4\)"):
            _ = CacheStore(cache).source_order


def test_rows_of_the_index_are_those_of_an_array(tmp_path):
    cache, _ = write_grown(tmp_path, generations=((3, 2), (4,)), content=False)
    index = CacheStore(cache).index
    rows = np.asarray(index)
    for key in (0, -1, [0, 7, -2], np.s_[2:8], np.s_[::-1], rows["video_id"] == 2, np.s_[4:4]):
        assert index[key].tobytes() == rows[key].tobytes()
    names = ["shard_id", "video_id"]
    assert all((index[names][name] == rows[name]).all() for name in names)


def test_an_id_of_a_content_order_outside_of_its_stretch_is_damage(tmp_path):
    cache, _ = write_grown(tmp_path, generations=((3, 2), (4,)))
    entry = CacheStore(cache).manifest.content_orders[1]
    file = cache / entry.file.name
    order = file.read_bytes()
    for wrong in (4, 2**32 - 5):  # the second one would wrap around to frame 0
        file.write_bytes(order[:-4] + np.uint32(wrong).tobytes())
        with pytest.raises(
            StoreDamagedError, match=rf"content_order\.npy: has frame id {wrong}, outside \[0, 4\)"
        ):
            _ = CacheStore(cache).content_order
