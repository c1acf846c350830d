"""`cache-bench --lerobot`: the script for the other interpreter, the rows, the ratios, a run with a made-up LeRobot."""

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from frame_cache_tools.bench import cli as bench_cli
from frame_cache_tools.bench.cli import EXIT_WRONG_COMMAND, main
from frame_cache_tools.bench.inputs import BenchCache
from frame_cache_tools.bench.lerobot import LIVE, PeerFacts, PreparedLeRobot, read_items
from frame_cache_tools.bench.lerobot.cases import LeRobotPlan, lerobot_cases
from frame_cache_tools.bench.lerobot.peer import _endless, _VideoReader
from frame_cache_tools.bench.lerobot.peer_process import Peer, PeerError, ask, interpreter
from frame_cache_tools.bench.lerobot.sources import SEED, EndlessPermutation, PeerSource
from frame_cache_tools.bench.measure import Rounds, SliceRule
from frame_cache_tools.bench.measure.slices import Slice, keep_nothing
from frame_cache_tools.bench.report import compare_with_lerobot

from cache_builder.errors import ConfigError, InputFolderError
from tests.support.commands import run
from tests.support.lerobot import CameraSpec, LeRobotSpec, write_lerobot
from tests.support.videos.tiny_videos import decode_upright, tiny_video

FRONT, WRIST = (f"observation.images.{name}" for name in ("front", "wrist"))
SAYS = """#!{python}
import json, sys, time
request = json.loads(sys.argv[2])
print("a library talks", file=sys.stderr)
if not request:
    print(json.dumps({{"facts": {{"versions": {{"python": "3.12", "lerobot": "9.9"}}, "backends": ["pyav"],
          "missing": {{"torchcodec": "no FFmpeg"}}}}}}))
elif request["num_workers"] == 1:
    sys.exit("it fell over")
else:
    print(json.dumps({{"ready": True}}))
    while True:
        time.sleep(0.002)
        print(json.dumps({{"images": request["batch_size"] * 2}}), flush=True)
"""
"""Answers as `peer.py` does, without LeRobot."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    cameras = (CameraSpec(key=FRONT), CameraSpec(key=WRIST, width=128))
    return write_lerobot(tmp_path_factory.mktemp("set"), LeRobotSpec(cameras=cameras, lengths=(14, 9, 17)))


@pytest.fixture
def python(tmp_path):
    """An interpreter that answers as if LeRobot were there."""
    path = tmp_path / "python"
    path.write_text(SAYS.format(python=sys.executable))
    path.chmod(0o755)
    return path


def bench(*arguments):
    return run(*map(str, arguments), command=main)


class TestItems:
    def test_a_chunk_of_actions_where_nothing_is_said(self, written):
        items = read_items(written.root, None)
        assert items.cameras == (FRONT, WRIST)
        assert (items.num_episodes, items.num_items, items.num_images, items.pictures) == (3, 40, 80, 2)
        assert items.column_offsets == {"action": list(range(16))}
        assert items.delta_timestamps["action"][-1] == 1.5
        assert items.frame_offsets is None

    def test_windows_of_pictures(self, written):
        items = read_items(written.root, json.dumps({FRONT: [-0.1, 0.0], WRIST: [-0.1, 0], "action": [0.2]}))
        assert items.pictures == 4
        assert items.frame_offsets == [-1, 0]
        assert items.column_offsets == {"action": [2]}
        other = read_items(written.root, json.dumps({FRONT: [-0.1, 0.0]}))
        assert other.pictures == 3
        with pytest.raises(ValueError, match="the same moments of all cameras"):
            _ = other.frame_offsets

    @pytest.mark.parametrize("text", ["[]", "{", '{"action": 3}', '{"nothing": [0]}', '{"action": []}'])
    def test_wrong_windows(self, written, text):
        with pytest.raises(ConfigError, match="--delta-timestamps: "):
            read_items(written.root, text)

    def test_no_data_set(self, tmp_path):
        with pytest.raises(InputFolderError, match=r"no LeRobot data set: meta/info\.json: No such file"):
            read_items(tmp_path, None)
        write_lerobot(tmp_path / "blind", LeRobotSpec(cameras=(), lengths=(3,)))
        with pytest.raises(InputFolderError, match="the data set has no videos"):
            read_items(tmp_path / "blind", None)


class TestScript:
    def test_its_order_is_that_of_our_rows(self):
        ours, theirs = iter(EndlessPermutation(7)), iter(_endless(7, seed=SEED))
        first = list(itertools.islice(ours, 21))
        assert first == list(itertools.islice(theirs, 21))
        assert sorted(first[:7]) == sorted(first[7:14]) == list(range(7))
        assert first[:7] != first[7:14]

    def test_the_stand_in_reads_as_torchvision_did(self, tmp_path):
        path = tiny_video(tmp_path, num_frames=20, gop_size=6).path
        expected = decode_upright(path)
        reader = _VideoReader(str(path), "video")
        reader.seek(0.5, keyframes_only=True)  # frame 12 or 13: the key frame before it is 12
        frames = list(reader)
        assert [round(frame["pts"] * 25) for frame in frames] == list(range(12, 20))
        for frame, picture in zip(frames, expected[12:], strict=True):
            assert frame["data"].shape == (3, *picture.shape[:2])
            np.testing.assert_array_equal(frame["data"].permute(1, 2, 0), picture)
        reader.container.close()

    def test_it_says_what_it_cannot_import(self):
        if "lerobot" in sys.modules or _has_lerobot():
            pytest.skip("LeRobot is installed here")
        with pytest.raises(PeerError, match=r"^ModuleNotFoundError: No module named 'lerobot'"):
            ask(Path(sys.executable))
        with pytest.raises(PeerError, match="make an environment for it, pip install lerobot there"):
            interpreter(None)

    def test_an_interpreter_that_is_none(self, tmp_path):
        with pytest.raises(PeerError, match="cannot be run: No such file"):
            ask(tmp_path / "nothing")

    def test_answers_and_last_words(self, python):
        facts = ask(python)
        assert facts == PeerFacts(
            versions={"python": "3.12", "lerobot": "9.9"},
            backends=("pyav",),
            missing={"torchcodec": "no FFmpeg"},
        )
        assert facts.name == "LeRobot 9.9"
        with (
            Peer(python, {"num_workers": 1}) as peer,
            pytest.raises(PeerError, match=r"^exit code 1: it fell over$"),
        ):
            peer.answer()

    def test_a_row_counts_its_images(self, python, written):
        source = PeerSource(
            python=python,
            items=read_items(written.root, None),
            backend="pyav",
            num_workers=0,
            batch_size=4,
            size=(32, 32),
        )
        piece = source.measure(SliceRule(seconds=0.01, images=24), keep_nothing)
        assert piece.images >= 24
        assert piece.images % 8 == 0


def _has_lerobot() -> bool:
    try:
        interpreter(None)
    except PeerError:
        return False
    return True


PEER = PeerFacts(versions={"lerobot": "1.0"}, backends=("pyav stand-in", "torchcodec"), missing={})
CACHE = BenchCache(
    name="wds raw", path=Path("c"), is_raw=True, num_frames=80, num_bytes=9_000, build_seconds=8.0
)


def plan_of(written, **changes) -> LeRobotPlan:
    plan = LeRobotPlan(
        items=read_items(written.root, None),
        size=(32, 32),
        batch_size=4,
        workers=(0, 2),
        seconds=0.1,
        slow_seconds=0.5,
        lookahead=3,
        lookahead_bytes=1 << 20,
        python=Path("python"),
        peer=PEER,
    )
    return replace(plan, **changes)


def test_rows_and_their_bursts(written):
    cases = lerobot_cases(plan_of(written), [CACHE], scan_cache=Path("scan"))
    rules = {case.name: case.rule for case in cases}
    assert list(rules) == [
        "LeRobot 1.0, pyav stand-in, 0 workers",
        "LeRobot 1.0, pyav stand-in, 2 workers",
        "LeRobot 1.0, torchcodec, 0 workers",
        "LeRobot 1.0, torchcodec, 2 workers",
        "LeRobotFrames, live, 0 workers",
        "LeRobotFrames, live, 2 workers",
        "FrameLoader, live, look-ahead 3 batches",
        "LeRobotFrames, wds raw, 0 workers",
        "LeRobotFrames, wds raw, 2 workers",
        "LeRobotFrames, wds raw, threads",
        "FrameLoader, wds raw",
    ]
    slow = rules["LeRobot 1.0, torchcodec, 2 workers"]
    assert (slow.batch_multiple, slow.warm_batches, slow.images) == (2, 2, 32)
    apart = read_items(written.root, json.dumps({FRONT: [-0.1, 0.0]}))
    assert not [
        case
        for case in lerobot_cases(plan_of(written, items=apart), [CACHE], scan_cache=Path("s"))
        if case.name.startswith("FrameLoader")
    ]


def test_ratios_are_those_of_the_best_rows_inside_each_round(written):
    cases = lerobot_cases(plan_of(written), [CACHE], scan_cache=Path("scan"))
    rates = dict(zip([case.name for case in cases], ([10, 12], [20, 30], [5, 5], [4, 4], [40, 60], [1, 1], [7, 7],
                                                     [100, 90], [400, 900], [1, 1],
                                                     [800, 1000]), strict=True))  # fmt: skip
    rounds = Rounds()
    for name, by_round in rates.items():
        rounds.slices[name] = {
            number: Slice(images=rate * 2, seconds=2.0, seconds_to_first_batch=None)
            for number, rate in enumerate(by_round)
        }
    prepared = PreparedLeRobot(
        items=read_items(written.root, None), peer=PEER, caches=[CACHE], cases=cases, left_out=[]
    )
    part = compare_with_lerobot(prepared, cases, rounds, [CACHE])
    found = {(each.row, each.other_row): each.ratio.median for each in part.comparisons}
    pyav, torchcodec = "LeRobot 1.0, pyav stand-in, 2 workers", "LeRobot 1.0, torchcodec, 0 workers"
    assert found == {
        ("LeRobotFrames, live, 0 workers", pyav): 2.0,
        ("LeRobotFrames, live, 0 workers", torchcodec): 10.0,
        ("FrameLoader, live, look-ahead 3 batches", pyav): pytest.approx((7 / 20 + 7 / 30) / 2),
        ("FrameLoader, live, look-ahead 3 batches", torchcodec): 1.4,
        ("LeRobotFrames, wds raw, 2 workers", pyav): 25.0,
        ("LeRobotFrames, wds raw, 2 workers", torchcodec): 130.0,
        ("FrameLoader, wds raw", pyav): pytest.approx((40 + 1000 / 30) / 2),
        ("FrameLoader, wds raw", torchcodec): 180.0,
    }
    assert "130 (80-180) x LeRobot 1.0, torchcodec, 0 workers" in part.text
    even = {row.other_row: row for row in part.break_even}
    assert set(even) == {pyav, torchcodec, "LeRobotFrames, live, 0 workers"}
    # Building 80 images takes 8 s. An epoch of 80 images takes 16 s at 5/s, and 80/650 s from the cache.
    assert even[torchcodec].epochs == 1
    assert even[torchcodec].build_seconds == 8.0
    assert even[torchcodec].other_epoch_seconds == 16.0
    assert any(note.startswith("pyav stand-in: ") for note in part.notes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--lerobot", "x", "--videos", "y"), "--lerobot measures that data set alone: leave out --videos"),
        (("--lerobot", "x", "--cache", "y"), "--lerobot measures that data set alone: leave out --cache"),
        (("--lerobot-python", "x"), "--lerobot-python is for --lerobot ROOT"),
        (("--delta-timestamps", "{}"), "--delta-timestamps is for --lerobot ROOT"),
        (("--usual-workers", "0"), "--usual-workers must be 1 or more each, found (0,)"),
        (("--lerobot", "x", "--usual-workers", "-1"), "--usual-workers must be 0 or more each, found (-1,)"),
    ],
)
def test_wrong_commands(arguments, message):
    result = bench(*arguments)
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert message in result.stderr


def test_a_folder_that_is_no_data_set_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_cli, "start_server", lambda: pytest.fail("the run began"))
    result = bench("--lerobot", tmp_path)
    assert result.exit_code == EXIT_WRONG_COMMAND
    assert "no LeRobot data set: meta/info.json: No such file" in result.stderr


def test_a_run_from_a_data_set_to_ratios(written, python):
    arguments = ("--lerobot", written.root, "--lerobot-python", python, "--rounds", "2", "--seconds", "0.02")
    result = bench(*arguments, "--batch-size", "4", "--lookahead", "2", "--usual-workers", "0", "--json")
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)
    rows = {row["name"]: row for row in values["rows"]}
    assert {row["failure"] for row in rows.values()} == {None}, rows
    assert set(rows) == {
        "LeRobot 9.9, pyav, 0 workers",
        "LeRobotFrames, live, 0 workers",
        "FrameLoader, live, look-ahead 2 batches",
        "LeRobotFrames, wds raw, 0 workers",
        "LeRobotFrames, wds raw, threads",
        "FrameLoader, wds raw",
        "LeRobotFrames, wds jpeg 444, 0 workers",
        "LeRobotFrames, wds jpeg 444, threads",
        "FrameLoader, wds jpeg 444",
    }
    assert all(row["images_per_second"] > 0 for row in rows.values())
    assert {(cache["name"], cache["num_frames"]) for cache in values["caches"]} == {
        ("wds raw", 80),
        ("wds jpeg 444", 80),
    }
    assert all(cache["build_seconds"] > 0 and cache["num_bytes"] > 80 * 1000 for cache in values["caches"])
    assert values["usual_row"] == "LeRobot 9.9, pyav, 0 workers"
    assert values["lerobot"]["versions"] == {"python": "3.12", "lerobot": "9.9"}
    assert len(values["lerobot"]["comparisons"]) == 6
    assert {row["other_row"] for row in values["break_even"]} == {
        "LeRobot 9.9, pyav, 0 workers",
        "LeRobotFrames, live, 0 workers",
    }
    assert values["left_out"] == [{"name": "LeRobot 9.9, torchcodec", "reason": "no FFmpeg"}]


def test_without_lerobot_it_says_how_to_install_it(written, tmp_path):
    arguments = ("--lerobot", written.root, "--lerobot-python", tmp_path / "none", "--rounds", "1")
    result = bench(
        *arguments, "--seconds", "0.02", "--batch-size", "4", "--only", f"LeRobotFrames, {LIVE}, 0"
    )
    assert result.exit_code == 0, result.stderr
    assert "left out: LeRobot: " in result.stdout
    assert "LeRobot was not measured: there are no ratios to it" in result.stdout
