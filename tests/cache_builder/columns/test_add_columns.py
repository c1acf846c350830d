"""Columns of a complete cache on disk: written, read back, found damaged, restored, and complete at every kill."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from cache_builder import add_columns, build_cache
from cache_builder.errors import ColumnsError, OutputError, RepairError
from cache_builder.repair import repair_cache
from frame_store import open_store
from frame_store.errors import StoreDamagedError, StoreError
from frame_store.manifest import read_manifest
from frame_store.verify import verify_store
from tests.support.videos.tiny_videos import tiny_video

NUM_FRAMES = {"a.mp4": 5, "b/c.mp4": 3}
NUM_ROWS = sum(NUM_FRAMES.values())


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A cache of two videos that stores every second frame."""
    folder = tmp_path_factory.mktemp("columns")
    (folder / "videos/b").mkdir(parents=True)
    for number, (path, num_frames) in enumerate(NUM_FRAMES.items()):
        tiny_video(folder / "videos", path=Path(path), num_frames=num_frames, video_number=number)
    build_cache(folder / "videos", folder / "cache", size=16, encoding="raw", stride=2, workers=1)
    return folder / "cache"


@pytest.fixture
def cache(built, tmp_path) -> Path:
    shutil.copytree(built, tmp_path / "cache")
    return tmp_path / "cache"


def rows():
    return [(path, frame) for path, number in NUM_FRAMES.items() for frame in range(number)]


def frame_table(**columns):
    return {
        "video": [path for path, _ in rows()],
        "frame": [frame for _, frame in rows()],
        **(columns or {"action": np.arange(NUM_ROWS * 2, dtype=np.float32).reshape(NUM_ROWS, 2)}),
    }


VIDEO_TABLE = {"video": ["c", "a"], "task": ["push", "open"]}


def files_of(cache):
    return {
        path.relative_to(cache).as_posix(): path.read_bytes()
        for path in sorted(cache.rglob("*"))
        if path.is_file()
    }


def test_columns_are_written_beside_every_other_file_and_read_back(cache):
    before = files_of(cache)
    report = add_columns(cache, [frame_table(), VIDEO_TABLE])
    after = files_of(cache)
    assert report.status == "written"
    assert {name: after[name] for name in before} == before
    assert sorted(set(after) - set(before)) == [
        f"{report.folders[0]}/0000.npy",
        f"{report.folders[0]}/0001.codes.json",
        f"{report.folders[0]}/0001.npy",
        f"{report.folders[0]}/columns.json",
        "manifest-0001.json",
    ]
    columns = open_store(cache).columns
    assert list(columns) == ["action", "task"]
    assert columns["action"].gather(np.arange(NUM_ROWS)).tolist() == np.arange(16).reshape(8, 2).tolist()
    assert columns["action"].dtype == np.float32
    assert [columns["task"].text_of(code) for code in columns["task"].gather([0, 1])] == ["open", "push"]
    assert not os.path.lexists(f"{cache}.columns.building")
    np.testing.assert_array_equal(
        np.load(cache / report.folders[0] / "0000.npy"), columns["action"].gather(np.arange(8))
    )
    result = verify_store(cache)
    assert (result.problems, result.notes) == ([], [])


def test_equal_columns_are_complete_already_whatever_their_order(cache):
    first = add_columns(cache, [frame_table(), VIDEO_TABLE])
    before = files_of(cache)
    again = add_columns(cache, [VIDEO_TABLE, frame_table()])
    assert (again.status, again.folders[0]) == ("already complete", first.folders[0])
    assert files_of(cache) == before


def test_columns_stay_and_are_replaced_by_name(cache):
    first = add_columns(cache, frame_table())
    second = add_columns(cache, VIDEO_TABLE)
    assert [column.name for column in second.columns] == ["action", "task"]
    third = add_columns(cache, frame_table(action=np.zeros(NUM_ROWS, np.int8)))
    store = open_store(cache)
    assert store.columns["action"].dtype == np.int8
    assert list(store.columns) == ["action", "task"]
    manifest = read_manifest(cache)
    assert manifest.version == 3
    assert [entry.folder for entry in manifest.columns] == [third.folders[0]]
    assert manifest.superseded == [first.folders[0], second.folders[0]]
    result = verify_store(cache)
    assert result.problems == []
    assert result.notes == [
        f"{folder}: holds columns of an earlier version of the cache"
        for folder in sorted(manifest.superseded)
    ]
    back = add_columns(cache, frame_table())
    assert back.folders[0] == second.folders[0]
    assert read_manifest(cache).superseded == [first.folders[0], third.folders[0]]
    assert verify_store(cache).problems == []


def test_a_cache_with_both_at_once_has_the_bytes_of_one_after_the_other(cache, tmp_path):
    shutil.copytree(cache, tmp_path / "other")
    together = add_columns(cache, [frame_table(), VIDEO_TABLE])
    add_columns(tmp_path / "other", VIDEO_TABLE)
    later = add_columns(tmp_path / "other", frame_table())
    assert together.folders[0] == later.folders[0]
    ours, others = files_of(cache), files_of(tmp_path / "other")
    assert all(others[name] == data for name, data in ours.items() if name.startswith(together.folders[0]))


def test_rows_by_time_fit_pts_of_frames_that_are_not_stored(cache):
    pts = np.array(open_store(cache).source_order.source_pts)
    table = {"video": [path for path, _ in rows()], "seconds": pts + 0.001, "x": np.arange(NUM_ROWS)}
    add_columns(cache, table)
    assert open_store(cache).columns["x"].gather(np.arange(NUM_ROWS)).tolist() == list(range(NUM_ROWS))


def test_missing_rows_are_masked_on_request(cache):
    table = {"video": ["a"], "task": ["push"]}
    with pytest.raises(
        ColumnsError, match=r"1 of 2 videos has no row: 'b/c.mp4'; columns_missing='mask' leaves"
    ):
        add_columns(cache, table)
    assert read_manifest(cache).version == 0
    report = add_columns(cache, table, missing="mask")
    assert report.notes == ["the dict: 1 of 2 videos has no row: 'b/c.mp4'"]
    assert [column.num_missing for column in report.columns] == [1]
    column = open_store(cache).columns["task"]
    assert column.gather_valid([0, 1]).tolist() == [True, False]
    assert (cache / report.folders[0] / "0000.valid.npy").exists()
    assert verify_store(cache).problems == []


def test_skip_takes_the_videos_that_fit(cache):
    table = {name: values[:-1] for name, values in frame_table().items()}
    with pytest.raises(
        ColumnsError, match=r"b/c.mp4: expected a row for each of 3 decoded frames, found 2 rows"
    ):
        add_columns(cache, table)
    report = add_columns(cache, table, on_error="skip")
    assert len(report.problems) == 1
    valid = open_store(cache).columns["action"].gather_valid(np.arange(NUM_ROWS))
    assert valid.tolist() == [True] * 5 + [False] * 3


def test_every_flipped_byte_of_columns_is_found_and_given_again(cache, tmp_path):
    tables = [frame_table(), {"video": ["a"], "task": ["push"]}]
    report = add_columns(cache, tables, missing="mask")
    sound = files_of(cache)
    for name in [name for name in sound if name.startswith(report.folders[0])]:
        path = cache / name
        for place in {0, len(sound[name]) // 2, len(sound[name]) - 1}:
            broken = bytearray(sound[name])
            broken[place] ^= 4
            path.write_bytes(broken)
            problems = verify_store(cache).problems
            assert problems and all(name.split("/")[1] in problem for problem in problems), (name, place)
        with pytest.raises(RepairError, match=r"columns are damaged.*cache-build --columns TABLE"):
            repair_cache(cache, workers=1)
        assert add_columns(cache, tables, missing="mask").status == "restored"
        assert files_of(cache) == sound
        path.unlink()
        assert verify_store(cache).problems
        assert add_columns(cache, tables, missing="mask").status == "restored"
        assert files_of(cache) == sound


def test_a_damaged_column_that_stays_is_an_error(cache):
    report = add_columns(cache, [frame_table(), VIDEO_TABLE])
    path = cache / report.folders[0] / "0000.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(StoreDamagedError, match="column 'action' stays and is damaged; give its table, too"):
        add_columns(cache, VIDEO_TABLE)
    (cache / report.folders[0] / "columns.json").write_bytes(b"{}")
    with pytest.raises(StoreDamagedError, match="give the tables of all its columns together"):
        add_columns(cache, VIDEO_TABLE)
    assert add_columns(cache, [frame_table(), VIDEO_TABLE]).status == "restored"


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", ["sync_tree", "publish_folder", "commit_manifest"])
@pytest.mark.parametrize("is_done", [False, True])
def test_a_kill_at_any_step_leaves_the_old_version_or_the_new_one(cache, monkeypatch, step, is_done):
    add_columns(cache, VIDEO_TABLE)
    from cache_builder.columns import publish

    whole = getattr(publish, step)

    def kill(*args, **options):
        if is_done:
            whole(*args, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(publish, step, kill)
        patch.setattr(
            "cache_builder.stages.Workspace.clear_columns", lambda self: None
        )  # a kill cleans nothing
        with pytest.raises(Killed):
            add_columns(cache, frame_table())
    is_new = is_done and step == "commit_manifest"
    store = open_store(cache)
    assert list(store.columns) == (["action", "task"] if is_new else ["task"])
    assert verify_store(cache).problems == []
    report = add_columns(cache, frame_table())
    assert report.status == ("already complete" if is_new else "written")
    assert verify_store(cache).problems == []
    assert not os.path.lexists(f"{cache}.columns.building")
    assert read_manifest(cache).version == 2


def test_a_version_that_another_process_wrote_is_not_replaced(cache, monkeypatch):
    from cache_builder.columns import publish

    sync = publish.sync_tree

    def another_commits(folder):
        sync(folder)
        (cache / "manifest-0001.json").write_bytes(b"theirs")

    monkeypatch.setattr(publish, "sync_tree", another_commits)
    with pytest.raises(OutputError, match="another process has written it"):
        add_columns(cache, frame_table())
    assert (cache / "manifest-0001.json").read_bytes() == b"theirs"


def test_a_folder_that_no_build_put_there_stays(cache):
    folder = Path(f"{cache}.columns.building")
    folder.mkdir()
    (folder / "mine.txt").write_text("precious")
    with pytest.raises(OutputError, match="no build put that there"):
        add_columns(cache, frame_table())
    assert (folder / "mine.txt").read_text() == "precious"


def test_links_in_the_folder_of_columns_are_refused(cache, tmp_path):
    report = add_columns(cache, frame_table())
    path = cache / report.folders[0] / "0000.npy"
    path.rename(tmp_path / "outside.npy")
    path.symlink_to(tmp_path / "outside.npy")
    with pytest.raises(StoreDamagedError, match="symbolic link"):
        open_store(cache).columns["action"].gather([0])
    assert any(
        "symbolic link" in problem or "is a link" in problem for problem in verify_store(cache).problems
    )


def test_a_file_that_is_cut_while_open_is_an_error(cache):
    report = add_columns(cache, frame_table())
    column = open_store(cache).columns["action"]
    column.gather([0])
    os.truncate(cache / report.folders[0] / "0000.npy", 10)
    with pytest.raises(StoreDamagedError, match="cut or replaced"):
        column.gather([0])


def test_columns_of_another_cache_are_refused(cache, built, tmp_path):
    report = add_columns(cache, frame_table())
    other = tmp_path / "other"
    build_cache(built.parent / "videos", other, size=24, encoding="raw", workers=1)
    shutil.copytree(cache / report.folders[0], other / report.folders[0])
    theirs = add_columns(other, frame_table(action=np.ones(NUM_ROWS)))
    manifest = other / "manifest-0001.json"
    from frame_store.manifest import ColumnsEntry, encode_manifest

    entry = read_manifest(cache).columns[0]
    import msgspec

    edited = msgspec.structs.replace(
        read_manifest(other),
        columns=[
            ColumnsEntry(
                first_video=0,
                num_videos=read_manifest(other).num_videos,
                folder=entry.folder,
                digest=entry.digest,
            )
        ],
    )
    assert theirs.folder != entry.folder
    manifest.write_bytes(encode_manifest(edited))
    with pytest.raises(StoreDamagedError, match="columns of generation"):
        _ = open_store(other).columns
    assert any("columns.json: is of generation" in problem for problem in verify_store(other).problems)


def test_tables_that_cannot_be_read_change_nothing(cache, tmp_path):
    before = files_of(cache)
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["video", "frame", "x"], ["a.mp4", 0, "nan"]])
    with pytest.raises(ColumnsError, match=r"table.csv: column 'x': line 2: NaN"):
        add_columns(cache, path)
    with pytest.raises(ColumnsError, match="no table"):
        add_columns(cache, [])
    with pytest.raises(StoreError):
        add_columns(tmp_path / "absent", frame_table())
    with pytest.raises(ColumnsError, match="differ by case alone"):
        add_columns(cache, [frame_table(), {"video": ["a", "c"], "Action": [1, 2]}])
    add_columns(cache, frame_table())
    with pytest.raises(ColumnsError, match="differ by case alone"):
        add_columns(cache, {"video": ["a", "c"], "Action": [1, 2]})
    assert {name: files_of(cache)[name] for name in before} == before


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"missing": "masks"}, "missing must be 'refuse' or 'mask', found 'masks'"),
        ({"tolerance_seconds": -1}, "tolerance_seconds must be 0 or more, found -1"),
        ({"on_error": "skipp"}, "on_error must be 'fail' or 'skip', found 'skipp'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_built(cache, tmp_path, option, message):
    before = files_of(cache)
    with pytest.raises(ColumnsError, match=message):
        add_columns(cache, frame_table(), **option)
    assert files_of(cache) == before
    if "on_error" in option:
        return  # a setting of the build, checked with the others
    (name, value), out = *option.items(), tmp_path / "new/cache"
    name = {"missing": "columns_missing", "tolerance_seconds": "columns_tolerance"}[name]
    (tmp_path / "new").mkdir()
    tiny_video(tmp_path, num_frames=2)
    with pytest.raises(ColumnsError, match=message):
        build_cache(tmp_path / "tiny.mp4", out, size=16, workers=1, columns=frame_table(), **{name: value})
    assert not list(out.parent.iterdir())


def test_concat_of_caches_keeps_common_columns_and_says_which_it_drops(cache, tmp_path):
    from frame_store import concat

    shutil.copytree(cache, tmp_path / "other")
    add_columns(cache, [frame_table(), VIDEO_TABLE])
    add_columns(tmp_path / "other", {"video": ["a", "c"], "task": ["wipe", "open"]})
    joined = concat([open_store(cache), open_store(tmp_path / "other")])
    assert joined.dropped_columns == ["action"]
    column = joined.columns["task"]
    assert column.strings == ("open", "push", "wipe")
    assert [column.text_of(code) for code in column.gather([0, 1, 2, 3])] == ["open", "push", "wipe", "open"]
    add_columns(tmp_path / "other", {"video": ["a", "c"], "task": [1, 2]})
    from frame_store.errors import ColumnError

    with pytest.raises(ColumnError, match=r"text of shape .* in store 0; per video, int64"):
        concat([open_store(cache), open_store(tmp_path / "other")])
