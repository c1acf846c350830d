import shutil
from dataclasses import replace
from functools import cached_property

import numpy as np
import pytest

from frame_store import concat, group_cameras, open_store, select
from frame_store.frame_sequence import FrameSequence
from frame_store.notebook import stores
from frame_store.video_table import VideoTable
from tests.support.caches.array_store import ArrayStore
from tests.support.caches.golden_stores import golden_frames
from tests.support.documents import ROOT
from tests.support.pages.html import ReadHtml, nearest_of

HOSTILE = "<img src=x onerror=alert(1)>\"'&\u202e\x1b[2J.mp4"
SHOWN = "<img src=x onerror=alert(1)>\"'&\\u202e\\x1b[2J.mp4"


def shown(thing):
    read = ReadHtml(thing._repr_html_())
    read.assert_safe()
    return read


def golden(tmp_path, name="wds-raw"):
    shutil.copytree(ROOT / "tests" / "data" / f"store-v1-{name}", tmp_path / "a.cache")
    return tmp_path / "a.cache"


class HugeStore(FrameSequence):
    """A billion frames of noise in a million videos, of which every look costs."""

    frame_shape, frame_dtype, shard_sizes = (1000, 1500, 3), np.dtype(np.uint8), np.full(10, 10**8)

    def __init__(self):
        self.read = []

    def __len__(self):
        return 10**9

    @property
    def videos(self):
        raise AssertionError("the whole table was read")

    video_ids = range(10**6)

    @cached_property
    def source_order(self):
        raise AssertionError("the source order was read")

    def rows_of(self, frame_ids):
        return np.array([(7, 3, 0.5)], [("video_id", "i8"), ("frame_in_video", "i8"), ("pts_seconds", "f8")])

    def read_frames(self, frame_ids, out=None):
        self.read.extend(frame_ids)
        return np.random.default_rng(0).integers(0, 255, (len(frame_ids), *self.frame_shape), np.uint8)


class NamedStore(ArrayStore):
    """Its videos have a hostile name."""

    @property
    def videos(self):
        return VideoTable(replace(row, path=HOSTILE) for row in super().videos)


@pytest.mark.parametrize("name", ["wds-raw", "wds-jpeg", "zarr-zstd"])
def test_a_store_is_shown_with_its_frames_and_where_they_lie(tmp_path, name):
    store = open_store(golden(tmp_path, name))
    found = shown(store)
    ids = [int(figure.lines[0].removeprefix("id ")) for figure in found.figures]
    assert len(ids) == 8 and ids == sorted(set(ids))
    assert nearest_of([figure.pictures[0] for figure in found.figures], golden_frames(name)) == ids
    for figure, row in zip(found.figures, store.rows_of(ids), strict=True):
        seconds = "" if np.isnan(row["pts_seconds"]) else f", {row['pts_seconds']:.3f} s"
        assert figure.lines[1:] == [
            f"video {row['video_id']}: {store.videos[row['video_id']].path}",
            f"frame {row['frame_in_video']}{seconds}",
        ]
    assert repr(store) in found.text and "16 x 24, 3 channels, uint8" in found.text


def test_levels_of_depth_are_scaled_together_and_said(tmp_path):
    store = open_store(golden(tmp_path, "zarr-zstd-gray16"))
    found = shown(store)
    ids = [int(figure.lines[0].removeprefix("id ")) for figure in found.figures]
    frames = golden_frames("gray16").astype(float)
    levels = frames[ids]
    assert f"scaled to be seen: {levels.min():.6g} is black, {levels.max():.6g} is white" in found.text
    gray = (frames - levels.min()) / (levels.max() - levels.min()) * 255
    assert nearest_of([figure.pictures[0] for figure in found.figures], np.repeat(gray, 3, axis=3)) == ids


def test_views_concatenations_and_cameras_name_their_own_videos(tmp_path):
    store = open_store(golden(tmp_path))
    second = select(store, videos=[1])
    found = shown(second)
    assert {figure.lines[1] for figure in found.figures} == {f"video 0: {store.videos[1].path}"}
    both = shown(concat([store, second]))
    assert both.figures[-1].lines[1] == f"video 2: {store.videos[1].path}"


def test_a_group_shows_every_camera_at_the_same_moments():
    one, other = ArrayStore([9]), ArrayStore([9], frame_shape=(8, 4, 3))
    found = shown(group_cameras({"front": one, HOSTILE: other}))
    assert [figure.lines[0] for figure in found.figures] == ["front"] * 4 + [SHOWN] * 4
    ids = [int(figure.lines[1].removeprefix("id ")) for figure in found.figures]
    assert ids[:4] == ids[4:]
    assert [figure.pictures[0].shape for figure in found.figures] == [(4, 6, 3)] * 4 + [(8, 4, 3)] * 4


def test_names_are_text_whatever_they_hold():
    found = shown(NamedStore([9]))
    assert {figure.lines[1] for figure in found.figures} == {f"video 0: {SHOWN}", f"video 1: {SHOWN}"}


def test_a_huge_store_costs_eight_frames_and_gives_a_small_output():
    store = HugeStore()
    text = store._repr_html_()
    assert len(store.read) == len(ReadHtml(text).figures) == 8
    assert "AssertionError" not in text and {figure.lines[1] for figure in ReadHtml(text).figures} == {
        "video 7"
    }
    assert len(text) < 300_000
    assert all(max(figure.pictures[0].shape) == 112 for figure in ReadHtml(text).figures)


def test_of_frames_that_are_decoded_in_groups_those_are_read_that_come_first():
    def decode_groups(self, frame_ids):
        return np.asarray(frame_ids) // 10 * 10

    methods = {"decode_groups": decode_groups, "read_frames_into": ArrayStore.read_frames}
    store = type("Grouped", (ArrayStore,), methods)([45])
    found = shown(store)
    assert [figure.lines[0] for figure in found.figures] == [f"id {start}" for start in (0, 10, 20, 30, 40)]


def test_long_texts_are_cut():
    store = type("Long", (ArrayStore,), {"__repr__": lambda _: "x" * 100_000})([2])
    assert len(store._repr_html_()) < 20_000


def test_a_slow_store_is_asked_no_longer_than_two_seconds(monkeypatch):
    monkeypatch.setattr(stores, "MOST_SECONDS", 0.0)
    store = HugeStore()
    found = shown(store)
    assert len(store.read) == len(found.figures) == 1
    assert "1 of 8" in found.text


def test_a_damaged_cache_shows_its_errors_and_its_whole_frames(tmp_path):
    path = golden(tmp_path)
    with open_store(path) as store:
        next(path.rglob("*000001.tar")).unlink()
        next(path.rglob("videos.jsonl")).write_text("{}")
        found = shown(store)
    lost = [figure for figure in found.figures if not figure.pictures]
    assert {figure.lines[1][:10] for figure in lost} and 0 < len(lost) < 8
    assert all("StoreDamagedError" in " ".join(figure.lines) for figure in found.figures)
    next(path.rglob("index.npy")).write_bytes(b"")
    assert "10" in shown(store).text


@pytest.mark.parametrize(
    "broken", ["__len__", "__repr__", "shard_sizes", "rows_of", "read_frames", "columns"]
)
def test_no_failing_part_of_a_store_makes_its_output_fail(broken):
    def fail(*_):
        raise RuntimeError("<script>broken</script>")

    of_class = property(fail) if broken in {"shard_sizes", "columns"} else fail
    store = type("Broken", (ArrayStore,), {broken: of_class})([9])
    assert "RuntimeError: <script>broken</script>" in shown(store).text
