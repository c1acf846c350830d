"""`--columns` on the command line: with a build, on a complete cache, without videos, and wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cache_builder import build_cache
from cache_builder.cli import cache_info, cache_verify
from frame_store import open_store
from frame_store.manifest import read_manifest
from tests.support.commands import digests, run
from tests.support.videos.tiny_videos import tiny_video, truncate_file

FLAGS = ("--size", "16", "--encoding", "raw", "--format", "wds", "--workers", "1")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for number, name in enumerate("ab"):
        tiny_video(folder, path=Path(f"{name}.mp4"), num_frames=3, video_number=number)
    return folder


@pytest.fixture(scope="module")
def built(videos) -> Path:
    cache = videos.with_name("built.cache")
    build_cache(videos, cache, size=16, encoding="raw", workers=1)
    return cache


@pytest.fixture
def cache(built, tmp_path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "cache"))


@pytest.fixture
def tables(tmp_path) -> tuple[Path, Path]:
    """A table by frame and one by video."""
    by_frame = [
        "video,frame,reward",
        *(f"{name}.mp4,{frame},{frame + 0.5}" for name in "ab" for frame in range(3)),
    ]
    (tmp_path / "frames.csv").write_text("\n".join(by_frame))
    (tmp_path / "videos.csv").write_text("video,task\na,push\nb,open\n")
    return tmp_path / "frames.csv", tmp_path / "videos.csv"


def test_a_build_with_columns_and_one_without_that_gets_them_later_are_the_same(videos, tables, tmp_path):
    at_once, later = tmp_path / "at_once", tmp_path / "later"
    first = run("--videos", videos, "--out", at_once, *FLAGS, "--columns", tables[0], "--columns", tables[1])
    assert first.exit_code == 0
    assert "reward: per frame, float64" in first.stdout and "task: per video, text" in first.stdout
    assert run("--videos", videos, "--out", later, *FLAGS).exit_code == 0
    alone = run("--columns", tables[0], "--columns", tables[1], "--out", later)
    assert alone.exit_code == 0 and "columns written, 2 columns in columns-" in alone.stdout
    assert list(digests(at_once).values()) == list(digests(later).values())
    before = digests(later)
    again = run("--videos", videos, "--out", later, *FLAGS, "--columns", tables[0], "--columns", tables[1])
    assert again.exit_code == 0
    assert "already complete, 6 frames" in again.stdout and "columns already complete" in again.stdout
    assert digests(later) == before
    assert open_store(later).columns["reward"].gather(np.arange(6)).tolist() == [0.5, 1.5, 2.5] * 2


def test_info_lists_columns(cache, tables):
    assert "  column  " not in run(cache, command=cache_info).stdout
    run("--columns", tables[0], "--out", cache)
    (cache.parent / "part.csv").write_text("video,task\na,push\n")
    run("--columns", cache.parent / "part.csv", "--columns-missing", "mask", "--out", cache)
    text = run(cache, command=cache_info).stdout
    assert "  column     reward: per frame, float64\n" in text
    assert "  column     task: per video, text, 1 missing\n" in text
    columns = json.loads(run(cache, "--json", command=cache_info).stdout)["columns"]
    assert [(column["name"], column["num_missing"]) for column in columns] == [("reward", 0), ("task", 1)]


def test_repair_names_the_file_and_the_way_to_restore_it(cache, tables):
    run("--columns", tables[0], "--out", cache)
    folder = read_manifest(cache).columns[0].folder
    path = cache / folder / "0000.npy"
    sound = digests(cache)
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    found = run(cache, command=cache_verify)
    assert found.exit_code == 1
    assert f"{folder}/0000.npy: sha256 differs from that in columns.json (column 'reward')" in found.stdout
    repaired = run(cache, "--repair", command=cache_verify)
    assert repaired.exit_code == 1
    assert (
        f"{folder}/0000.npy" in repaired.stderr
        and f"cache-build --columns TABLE --out {cache}" in repaired.stderr
    )
    restored = run("--columns", tables[0], "--out", cache)
    assert restored.exit_code == 0 and "columns restored" in restored.stdout
    assert digests(cache) == sound
    assert run(cache, command=cache_verify).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--columns", "frames.csv"],
            "--columns without videos is for a complete cache: give its path as --out",
        ),
        (["--columns", "frames.csv", "--out", "absent"], "absent"),
        (
            ["--columns", "frames.csv", "--out", "cache", "--size", "32"],
            "--size is for a build: give the videos, too",
        ),
        (["--columns", "frames.csv", "--out", "cache", "--overwrite"], "--overwrite is for a build"),
        (["--columns", "frames.csv", "--out", "cache", "--limit", "2"], "--limit is for a build"),
        (["--columns", "absent.csv", "--out", "cache"], "absent.csv: no such file"),
        (["--columns", "bad.csv", "--out", "cache"], "bad.csv: column 'x': line 2: the cell is empty"),
        (
            ["--columns", "part.csv", "--out", "cache"],
            "has no row: 'b.mp4'; --columns-missing mask leaves them out",
        ),
        (["--columns", "short.csv", "--out", "cache"], "found 1 row; --on-error skip takes the rest"),
        (
            ["--columns", "strange.csv", "--out", "cache"],
            "none of its 1 row matches a video: line 2 has 'aa.mp4', the ",
        ),
        (
            ["--columns-missing", "mask", "--out", "cache"],
            "--columns-missing is for --columns: give both, or none",
        ),
        (["--columns-tolerance", "1", "--out", "cache"], "--columns-tolerance is for --columns"),
    ],
)
def test_wrong_commands_get_one_line_and_change_nothing(arguments, said, cache, tables, monkeypatch):
    monkeypatch.chdir(cache.parent)
    Path("bad.csv").write_text("video,x\na,\n")
    Path("part.csv").write_text("video,task\na,push\n")
    Path("short.csv").write_text("video,frame,x\na,0,1\nb,0,1\nb,1,1\nb,2,1\n")
    Path("strange.csv").write_text("video,x\naa.mp4,1\n")
    before = digests(cache)
    result = run(*arguments)
    assert result.exit_code == 2, result.stderr
    assert said in result.stderr
    assert digests(cache) == before


def test_a_table_that_cannot_be_read_stops_a_build_before_it_begins(videos, tmp_path):
    (tmp_path / "bad.csv").write_text("video,x\na,\n")
    result = run("--videos", videos, "--out", tmp_path / "new", *FLAGS, "--columns", tmp_path / "bad.csv")
    assert result.exit_code == 2
    assert not (tmp_path / "new").exists()


def test_a_table_that_does_not_fit_leaves_the_cache_complete_without_it(videos, tables, tmp_path):
    (tmp_path / "short.csv").write_text("video,frame,x\na,0,1\nb,0,1\nb,1,1\nb,2,1\n")
    arguments = ("--videos", videos, "--out", tmp_path / "new", *FLAGS, "--columns")
    result = run(*arguments, tmp_path / "short.csv")
    assert result.exit_code == 2
    assert (
        "is complete without these columns; after a correction, the same command adds them" in result.stderr
    )
    assert run(tmp_path / "new", command=cache_verify).exit_code == 0
    assert run(*arguments, tables[0]).exit_code == 0
    assert list(open_store(tmp_path / "new").columns) == ["reward"]


def test_damaged_videos_take_no_columns_by_frame_and_skip_builds_the_rest(videos, tables, tmp_path):
    folder = Path(shutil.copytree(videos, tmp_path / "videos"))
    truncate_file(folder / "a.mp4", 0.6)
    arguments = ("--videos", folder, "--out", tmp_path / "new", *FLAGS, "--columns", tables[0])
    result = run(*arguments, "--on-error", "skip")
    assert result.exit_code == 1, result.stderr
    assert "a.mp4: is " in result.stdout and "rows by frame need a whole video" in result.stdout
    column = open_store(tmp_path / "new").columns["reward"]
    assert column.gather_valid(np.arange(len(column)))[-3:].tolist() == [True] * 3
    assert column.num_missing == len(column) - 3


def test_the_function_takes_tables_too(videos, tmp_path):
    notes = []

    class Notes:
        def start(self, *_):
            pass

        def advance(self, *_):
            pass

        def note(self, text):
            notes.append(text)

    build_cache(
        videos,
        tmp_path / "new",
        size=16,
        encoding="raw",
        workers=1,
        columns={"video": ["a"], "task": ["push"]},
        columns_missing="mask",
        progress=Notes(),
    )
    assert any("1 of 2 videos has no row: 'b.mp4'" in note for note in notes)
    assert open_store(tmp_path / "new").columns["task"].num_missing == 1
