"""Typical mistakes with every command: one line with what is wrong and what to do, one exit code for each."""

import hashlib
import shutil

import pytest
from frame_cache_tools.bench.cli import main as cache_bench
from frame_cache_tools.bias.cli import main as cache_bias

from cache_builder.cli import cache_build, cache_info, cache_verify
from cache_builder.cli.exit_status import EXIT_NOT_WHOLE, EXIT_WRONG_COMMAND
from frame_store.names import generation_folder
from tests.support.caches.golden_stores import golden_frames
from tests.support.caches.tree import FIRST_MANIFEST
from tests.support.commands import SMALL, run
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

OF_A_CACHE = {
    "info": (cache_info, ["CACHE"]),
    "info --json": (cache_info, ["CACHE", "--json"]),
    "info --videos": (cache_info, ["--videos", "CACHE"]),
    "info --against": (cache_info, ["CACHE", "--against", "VIDEOS"]),
    "verify": (cache_verify, ["CACHE"]),
    "verify --repair": (cache_verify, ["CACHE", "--repair"]),
    "verify --repair --videos": (cache_verify, ["CACHE", "--repair", "--videos", "VIDEOS"]),
    "bias": (cache_bias, ["CACHE"]),
    "bench": (cache_bench, ["--cache", "CACHE", "--quick"]),
}
"""Every way to give a cache to a command."""

LIVE = " (from Python, cache_builder.open_videos decodes live)"

GENERATION = generation_folder(hashlib.sha256(golden_frames().tobytes()).hexdigest())
NO_CACHE = {
    "gone": "no such folder; check the path, or build a cache first: cache-build DIR",
    "notes.txt": "a file; give the folder of a cache, with a manifest-0000.json in it",
    "empty": "an empty folder; check the path, or build a cache first: cache-build DIR",
    "videos": "a folder of videos; build their cache first: cache-build {path}" + LIVE,
    "deep": "a folder of videos; build their cache first: cache-build {path}" + LIVE,
    "videos/00.mp4": "a video; build its cache first: cache-build {path}" + LIVE,
    "other": "a folder with no manifest-0000.json in it; give the folder of a cache",
    "half": "its build is not finished; give the same cache-build command again, it goes on",
    "half.building": "its build is not finished; give the same cache-build command again, it goes on",
    "built": "the videos that one was made of; give the cache beside it: {path}.cache",
    "named": "nothing is there; give the cache beside it: {path}.cache",
    f"built.cache/{GENERATION}": "a part of one; give the whole: {top}/built.cache",
    f"built.cache/{GENERATION}/shards": "a part of one; give the whole: {top}/built.cache",
    f"built.cache/{GENERATION}/index.npy": "a part of one; give the whole: {top}/built.cache",
    "shelf": "a folder that holds some; give one of them: {path}/one, {path}/two",
    "link": "a link to nothing; give the folder of a cache, with a manifest-0000.json in it",
}
"""Name of a path that is not a cache -> its message."""


@pytest.fixture(scope="module")
def places(golden_caches, tmp_path_factory):
    """A folder with everything that may be taken for a cache. Read-only."""
    top = tmp_path_factory.mktemp("places")
    for name in ("empty", "other", "half.building", "built", "shelf", "deep"):
        (top / name).mkdir()
    (top / "notes.txt").write_text("notes")
    (top / "other" / "data.csv").write_text("1")
    (top / "half.building" / "identity.json").write_text("{}")
    (top / "link").symlink_to("nowhere")
    videos = tiny_folder(top / "videos", simple_specs(1)).path
    shutil.copytree(videos, top / "deep" / "train")
    shutil.copy(videos / "00.mp4", top / "built")
    for name in ("built.cache", "named.cache", "shelf/one", "shelf/two"):
        shutil.copytree(golden_caches / "wds-raw", top / name)
    return top


def errors_of(result):
    return [line for line in result.stderr.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize("command", OF_A_CACHE)
def test_what_is_no_cache_gets_the_same_line_from_all_commands(places, command):
    function, words = OF_A_CACHE[command]
    for name, said in NO_CACHE.items():
        path = places / name
        given = {"CACHE": path, "VIDEOS": places / "videos"}
        result = run(*(given.get(word, word) for word in words), command=function)
        expected = f"error: {path}: no cache: {said.format(path=path, top=places)}"
        assert (result.exit_code, errors_of(result)) == (EXIT_WRONG_COMMAND, [expected])
        assert result.stderr.splitlines()[-1] == expected and result.stdout == ""


@pytest.mark.parametrize("command", OF_A_CACHE)
def test_a_damaged_cache_is_no_wrong_command(golden_cache_of, places, command):
    cache = golden_cache_of("wds-raw")
    path = cache / FIRST_MANIFEST
    function, words = OF_A_CACHE[command]
    given = {"CACHE": cache, "VIDEOS": places / "videos"}
    whole = path.read_bytes()
    for content in (whole[:-90], b"{}", None):
        path.write_bytes(content) if content is not None else path.unlink()
        result = run(*(given.get(word, word) for word in words), command=function)
        assert result.exit_code == EXIT_NOT_WHOLE
        (line,) = errors_of(result)
        assert line.startswith(f"error: {path}: ")


OF_VIDEOS = {
    "build": (cache_build, ["VIDEOS", *SMALL]),
    "build --out": (cache_build, ["VIDEOS", "--out", "OUT", *SMALL]),
    "build --videos": (cache_build, ["--videos", "VIDEOS", *SMALL]),
    "info --against": (cache_info, ["CACHE", "--against", "VIDEOS"]),
    "verify --repair --videos": (cache_verify, ["CACHE", "--repair", "--videos", "VIDEOS"]),
    "bias --videos": (cache_bias, ["--videos", "VIDEOS"]),
    "bench --videos": (cache_bench, ["--videos", "VIDEOS", "--quick"]),
}
"""Every way to give videos to a command."""

NO_VIDEOS = {
    "gone": "no such folder or file",
    "notes.txt": "is read as a list of videos, the path of one in each line",
    "empty": "holds no video; videos have these extensions",
    "other": "holds no video (passed over by extension: 1 .csv); videos have these extensions",
    "built.cache": "is a cache, and holds no videos; cache-info shows what is in it",
    "link": "no such folder or file",
}


@pytest.mark.parametrize("command", OF_VIDEOS)
def test_what_holds_no_videos_gets_the_same_line_from_all_commands(places, tmp_path, command):
    function, words = OF_VIDEOS[command]
    for name, said in NO_VIDEOS.items():
        given = {"VIDEOS": places / name, "CACHE": places / "built.cache", "OUT": tmp_path / "out"}
        result = run(*(given.get(word, word) for word in words), command=function)
        assert result.exit_code == EXIT_WRONG_COMMAND, result.stderr
        (line,) = errors_of(result)
        assert line.startswith(f"error: {places / name}: {said}")
        assert result.stdout == "" and not (tmp_path / "out").exists()


WRONG_WORDS = {
    "nothing": (cache_build, [], "nothing to build from: give cache-build SOURCE"),
    "two folders": (cache_build, ["a", "b"], "2 sources are given, a, b: give --out"),
    "both ways": (cache_build, ["a", "--videos", "b"], "2 sources are given, a, b: give --out"),
    "a pattern for nothing": (
        cache_build,
        ["videos", "--include", "*.mkv"],
        "--include: '*.mkv' matches no video of 1, such as '00.mp4'",
    ),
    "all excluded": (cache_build, ["videos", "--exclude", "*"], "--include and --exclude leave all out"),
    "an empty pattern": (cache_build, ["videos", "--exclude", ""], "found ''"),
    "a limit of none": (cache_build, ["videos", "--limit", "0"], "--limit"),
    "an empty path": (cache_build, [""], "an empty path"),
    "an empty --videos": (cache_build, ["--videos", ""], "'--videos': an empty path"),
    "no config": (cache_build, ["videos", "--config", "gone.toml"], "gone.toml: No such file or directory"),
    "a folder as config": (cache_build, ["videos", "--config", "empty"], "empty: Is a directory"),
    "an output below a file": (cache_build, ["videos", "--out", "notes.txt/x"], "cannot be written"),
    "a misspelt flag of build": (cache_build, ["videos", "--sise", "7"], "--size"),
    "a misspelt flag of info": (cache_info, ["built.cache", "--agianst", "x"], "--against"),
    "a misspelt flag of verify": (cache_verify, ["built.cache", "--repiar"], "--repair"),
    "a misspelt flag of bias": (cache_bias, ["built.cache", "--shard-size", "x"], "--shard-sizes"),
    "a misspelt flag of bench": (cache_bench, ["--video", "x"], "--videos"),
    "no flag at all": (cache_build, ["videos", "--zzzzz"], "cache-build --help lists what it takes"),
    "a word for a number": (cache_build, ["videos", "--workers", "all"], "'all' is not a valid integer"),
    "a size out of range": (
        cache_build,
        ["videos", "--size", "7"],
        "--size: height must be 8 to 8192 pixels",
    ),
    "no cache for info": (cache_info, [], "Missing argument 'CACHE|URL'"),
    "no cache for verify": (cache_verify, [], "Missing argument 'CACHE|URL'"),
    "nothing for bias": (cache_bias, [], "say what to look at"),
    "two caches for info": (cache_info, ["built.cache", "x"], "unexpected extra argument (x)"),
    "videos without repair": (
        cache_verify,
        ["built.cache", "--videos", "videos"],
        "--videos is for --repair",
    ),
    "workers without repair": (cache_verify, ["built.cache", "--workers", "1"], "--workers is for --repair"),
}


@pytest.mark.parametrize("mistake", WRONG_WORDS)
def test_a_wrong_command_is_told_in_one_line(places, monkeypatch, mistake):
    function, words, said = WRONG_WORDS[mistake]
    monkeypatch.chdir(places)
    before = sorted(path.name for path in places.iterdir())
    result = run(*words, command=function)
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: "), result.stderr
    assert said in result.stderr
    assert sorted(path.name for path in places.iterdir()) == before


def test_help_is_still_help():
    for command in (cache_build, cache_info, cache_verify, cache_bias, cache_bench):
        result = run("--help", command=command)
        assert result.exit_code == 0 and result.stdout.startswith(f"Usage: {command.name} ")
