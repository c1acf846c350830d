"""Columns and content orders of a cache that grows: those of new videos, of old ones, and of all of them."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from cache_builder import add_columns, build_cache, compact_cache, forget_videos, write_content_order
from cache_builder.errors import ColumnsError
from frame_store import open_store
from frame_store.manifest import read_manifest, read_tree
from frame_store.reader import CacheStore
from tests.support.commands import digests, run
from tests.support.videos.tiny_videos import tiny_video

SETTINGS = {"size": 16, "frames_per_shard": 10, "workers": 1}
LENGTHS = {"v0.mp4": 6, "v1.mp4": 7, "v2.mp4": 8}


def table_of(*names, offset=0, dtype=np.float32):
    """Per frame: a number and a text."""
    rows = [(name, frame) for name in names for frame in range(LENGTHS[name])]
    return {
        "video": [name for name, _ in rows],
        "frame": [frame for _, frame in rows],
        "state": np.array([offset + 100 * int(name[1]) + frame for name, frame in rows], dtype),
        "note": [f"{name} {frame % 3}" for name, frame in rows],
    }


def goals_of(*names):
    return {"video": [*names], "goal": [int(name[1]) * 11 for name in names]}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A cache of v0 and v1 without columns; v2 lies beside their folder."""
    folder = tmp_path_factory.mktemp("built")
    for number, (name, length) in enumerate(LENGTHS.items()):
        tiny_video(
            folder / ("later" if number == 2 else "videos"),
            path=Path(name),
            video_number=number,
            num_frames=length,
        )
    build_cache(folder / "videos", folder / "c", **SETTINGS)
    return folder


@pytest.fixture
def here(built, tmp_path):
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    shutil.copy2(tmp_path / "later" / "v2.mp4", tmp_path / "videos")
    return tmp_path


def append(here, **more):
    return build_cache(here / "videos", here / "c", append=True, workers=1, **more)


def values(cache, name):
    """(path, frame) or path -> value; None where it is missing."""
    with CacheStore(cache) as store:
        column, order = store.columns[name], store.source_order
        found, valid = column.gather(np.arange(len(column))), column.gather_valid(np.arange(len(column)))
        keys = [row.path for row in store.videos]
        if column.scope == "frame":
            counts = np.diff(order.first_row)
            keys = [(path, frame) for path, count in zip(keys, counts, strict=True) for frame in range(count)]
        texts = column.strings is not None
        return {
            key: None if not is_valid else column.text_of(int(value)) if texts else value.tolist()
            for key, value, is_valid in zip(keys, found, valid, strict=True)
        }


def test_columns_that_the_new_videos_lack_are_refused_before_decoding_or_masked(here, monkeypatch):
    add_columns(here / "c", [table_of("v0.mp4", "v1.mp4"), goals_of("v0.mp4", "v1.mp4")])
    before = digests(here / "c")
    with monkeypatch.context() as patched:
        patched.delattr("cache_builder.build.making.DecodeStage")
        with pytest.raises(ColumnsError, match=r"the columns 'goal', 'note', 'state', which nothing gives"):
            append(here)
        with pytest.raises(ColumnsError, match="the column 'goal', which nothing gives"):
            append(here, columns=table_of("v2.mp4"))
        with pytest.raises(ColumnsError, match=r"lacks the column 'extra'.*columns_missing='mask'"):
            append(here, columns=[table_of("v2.mp4"), {"video": ["v2.mp4"], "goal": [1], "extra": [2]}])
        with pytest.raises(
            ColumnsError, match=r"'goal': the cache has int64 per video, .* given text per video"
        ):
            append(here, columns=[table_of("v2.mp4"), {"video": ["v2.mp4"], "goal": ["a"]}])
    assert digests(here / "c") == before
    done = run(
        here / "videos", "--out", here / "c", "--append", "--columns-missing", "mask", "--workers", "1"
    )
    assert (
        done.exit_code,
        "missing in the new videos: the columns 'goal', 'note', 'state'" in done.stderr,
    ) == (0, True)
    assert before.items() <= digests(here / "c").items()
    assert values(here / "c", "goal") == {"v0.mp4": 0, "v1.mp4": 11, "v2.mp4": None}
    notes = values(here / "c", "note")
    assert (notes["v1.mp4", 4], {notes["v2.mp4", frame] for frame in range(8)}) == ("v1.mp4 1", {None})
    assert read_manifest(here / "c").version == 2


def test_a_table_of_all_videos_gives_the_new_ones_their_rows_and_nothing_else_is_written(here):
    add_columns(here / "c", [table_of("v0.mp4", "v1.mp4"), goals_of("v0.mp4", "v1.mp4")])
    before = digests(here / "c")
    tables = [table_of(*LENGTHS, offset=0.0, dtype=np.float64), goals_of(*LENGTHS)]
    report = append(here, columns=tables)  # float64 that float32 holds
    assert report.is_whole
    assert before.items() <= digests(here / "c").items()
    assert values(here / "c", "state")["v2.mp4", 5] == 205
    assert values(here / "c", "note")["v2.mp4", 5] == "v2.mp4 2"
    assert values(here / "c", "goal") == {"v0.mp4": 0, "v1.mp4": 11, "v2.mp4": 22}
    manifest = read_manifest(here / "c")
    assert [(entry.first_video, entry.num_videos) for entry in manifest.columns] == [(0, 2), (2, 1)]
    alone = build_cache(
        here / "later", here / "d", columns=[table_of("v2.mp4"), goals_of("v2.mp4")], **SETTINGS
    )
    assert alone.num_frames == 8
    assert manifest.columns[1].folder == read_manifest(here / "d").columns[0].folder


def test_rows_that_do_not_fit_leave_the_cache_as_it_is_and_a_corrected_table_needs_no_decoding(
    here, monkeypatch
):
    add_columns(here / "c", goals_of("v0.mp4", "v1.mp4"))
    before = digests(here / "c")
    with pytest.raises(ColumnsError, match="has no row of the new videos"):
        append(here, columns=goals_of("v0.mp4"))
    with pytest.raises(ColumnsError, match="no video"):
        append(here, columns=goals_of("v2.mp4", "v7.mp4"))
    with pytest.raises(ColumnsError, match=r"the cache has int64, which cannot hold 2.5"):
        append(here, columns={"video": ["v2.mp4"], "goal": [2.5]})
    assert digests(here / "c") == before
    with monkeypatch.context() as patched:
        patched.setattr("cache_builder.jobs.unit_job.UnitJob._decode", None)
        append(here, columns=goals_of("v2.mp4"))
    assert values(here / "c", "goal")["v2.mp4"] == 22


def test_further_columns_are_masked_in_the_videos_that_were_there(here):
    before = digests(here / "c")
    with pytest.raises(ColumnsError, match="lacks the column 'goal'"):
        append(here, columns=goals_of("v2.mp4"))
    append(here, columns=[goals_of("v2.mp4"), table_of("v2.mp4")], columns_missing="mask")
    assert before.items() <= digests(here / "c").items()
    assert values(here / "c", "goal") == {"v0.mp4": None, "v1.mp4": None, "v2.mp4": 22}
    assert values(here / "c", "note")["v2.mp4", 4] == "v2.mp4 1"
    assert values(here / "c", "note")["v0.mp4", 4] is None


def test_columns_of_a_grown_cache_have_a_folder_for_each_generation_and_forgotten_videos_need_no_rows(here):
    add_columns(here / "c", goals_of("v0.mp4", "v1.mp4"))
    append(here, columns=goals_of("v2.mp4"))
    forget_videos(here / "c", "v1.mp4")
    shutil.copy2(here / "later" / "v2.mp4", here / "videos" / "v1.mp4")
    append(here, columns={"video": ["v1.mp4"], "goal": [5]})
    before = digests(here / "c")
    lengths = {"v0.mp4": 6, "v1.mp4": 8, "v2.mp4": 8}
    rows = [(name, frame) for name, length in lengths.items() for frame in range(length)]
    table = {
        "video": [name for name, _ in rows],
        "frame": [frame for _, frame in rows],
        "x": np.arange(len(rows), dtype=np.int16),
    }
    report = add_columns(here / "c", table)
    manifest = read_manifest(here / "c")
    assert [(entry.first_video, entry.num_videos) for entry in manifest.columns] == [(0, 2), (2, 1), (3, 1)]
    assert report.folders == [entry.folder for entry in manifest.columns]
    assert {column.name: column.num_missing for column in report.columns} == {"goal": 0, "x": 7}
    assert before.items() <= digests(here / "c").items()
    with CacheStore(here / "c") as store:
        assert store.columns["goal"].gather(np.arange(4)).tolist() == [0, 11, 22, 5]
        x, valid = store.columns["x"].gather(np.arange(29)), store.columns["x"].gather_valid(np.arange(29))
    assert x[valid].tolist() == [*range(6), *range(14, 22), *range(6, 14)]
    assert not valid[6:13].any()
    again = add_columns(here / "c", table)
    assert (again.status, read_manifest(here / "c").version) == ("already complete", manifest.version)
    path = here / "c" / manifest.columns[1].folder / "0001.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"z")
    assert add_columns(here / "c", table).status == "restored"
    assert open_store(here / "c").columns["x"].gather_valid(np.arange(13, 29)).all()


def test_a_killed_build_with_tables_is_completed_by_an_append(here):
    append(here)
    report = append(here, columns=goals_of(*LENGTHS))
    assert report.append.columns_to_write == ["goal"]
    assert values(here / "c", "goal") == {"v0.mp4": 0, "v1.mp4": 11, "v2.mp4": 22}
    assert append(here, columns=goals_of(*LENGTHS)).append.columns_to_write == []


def test_a_content_order_grows_with_the_cache_and_is_made_anew_as_one_when_asked(here):
    write_content_order(here / "c")
    first = open_store(here / "c").content_order
    before = digests(here / "c")
    append(here, content_order=True)
    manifest = read_manifest(here / "c")
    assert [(entry.first_frame, entry.num_frames) for entry in manifest.content_orders] == [(0, 13), (13, 8)]
    assert manifest.version == 2
    assert before.items() <= digests(here / "c").items()
    build_cache(here / "later", here / "d", content_order=True, **SETTINGS)
    assert manifest.content_orders[1].sha256 == read_manifest(here / "d").content_orders[0].sha256
    joined = open_store(here / "c").content_order
    np.testing.assert_array_equal(joined[:13], first)
    np.testing.assert_array_equal(joined[13:], 13 + open_store(here / "d").content_order.astype(np.int64))
    report = write_content_order(here / "c")
    (entry,) = read_manifest(here / "c").content_orders
    assert (report.status, entry.first_frame, entry.num_frames) == ("written", 0, 21)
    assert sorted(open_store(here / "c").content_order.tolist()) == [*range(21)]
    assert write_content_order(here / "c").status == "already complete"
    assert read_tree(here / "c").manifest.superseded == [each.folder for each in manifest.content_orders]


def test_a_table_with_rows_of_a_forgotten_video_is_taken_by_an_append(here):
    add_columns(here / "c", goals_of("v0.mp4", "v1.mp4"))
    forget_videos(here / "c", "v1.mp4")
    (here / "videos" / "v1.mp4").unlink()
    append(here, columns=goals_of("v0.mp4", "v1.mp4", "v2.mp4"))
    assert values(here / "c", "goal") == {"v0.mp4": 0, "v1.mp4": 11, "v2.mp4": 22}


def test_damaged_columns_of_generations_that_were_joined_are_written_again(here):
    add_columns(here / "c", goals_of("v0.mp4", "v1.mp4"))
    append(here, columns=goals_of("v2.mp4"))
    compact_cache(here / "c", join_all=True, workers=1)
    entry = read_manifest(here / "c").columns[0]
    (here / "c" / entry.folder / "columns.json").write_bytes(b"")
    assert add_columns(here / "c", goals_of(*LENGTHS)).status == "restored"
    assert values(here / "c", "goal") == {"v0.mp4": 0, "v1.mp4": 11, "v2.mp4": 22}
