"""`videos.jsonl`: a record a line, read when it is asked for, each size bounded before it is used."""

import json
import sys

import msgspec
import pytest

import frame_store
from frame_store.errors import StoreDamagedError, StoreFormatError
from frame_store.manifest import encode_videos, read_tree
from frame_store.video_table import VideoTable
from tests.frame_store.manifest.made_up import make_video
from tests.support.caches.cache_edits import edit_generation, edit_videos
from tests.support.caches.golden_stores import made_up_video
from tests.support.caches.tree import generation_folder
from tests.support.mutations.of_caches import resign


@pytest.fixture
def cache(golden_cache_of):
    return golden_cache_of("wds-raw")


@pytest.fixture
def table(cache):
    return generation_folder(cache) / "videos.jsonl"


def test_a_record_is_a_line_of_plain_json():
    videos = [make_video("a.mp4", 3), make_video("line\nbreak ü.mkv", 2)]
    lines = list(encode_videos(videos))
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    assert [json.loads(line)["path"] for line in lines] == ["a.mp4", "line\nbreak ü.mkv"]


def test_what_is_written_is_read_back(cache):
    (first, second) = read_tree(cache).read_videos()
    assert (first.path, second.path) == ("first.mp4", "more/second ü.h264")
    assert (first.num_frames_stored, second.num_frames_stored) == (5, 5)


def test_a_store_keeps_the_table_once_it_was_asked_for(cache, table):
    store = frame_store.open_store(cache)
    entries = store.video_entries
    table.unlink()
    assert store.video_entries is entries
    with pytest.raises(StoreDamagedError, match=r"videos\.jsonl: No such file"):
        _ = frame_store.open_store(cache).video_entries


def test_opening_and_reading_frames_never_opens_the_table(cache, table):
    opened = []
    watching = [True]

    def watch(event, args):
        if watching[0] and event == "open":
            opened.append(str(args[0]))

    sys.addaudithook(watch)
    table.unlink()
    store = frame_store.open_store(cache)
    store.read_frames([0, 9])
    store.rows_of([3])
    watching[0] = False
    assert any("generation.json" in path for path in opened)
    assert not any("videos.jsonl" in path for path in opened)


def test_every_flipped_bit_is_damage(cache, table):
    sound = table.read_bytes()
    for position in range(0, len(sound), 5):
        altered = bytearray(sound)
        altered[position] ^= 1 << position % 8
        table.write_bytes(altered)
        with pytest.raises(
            StoreDamagedError, match=r"videos\.jsonl: sha256 differs from that in generation\.json"
        ):
            read_tree(cache).read_videos()
    table.write_bytes(sound[:-1])
    with pytest.raises(StoreDamagedError, match=rf"expected {len(sound)} bytes, found {len(sound) - 1}"):
        read_tree(cache).read_videos()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda videos: videos.pop(), "expected 2 lines, found 1"),
        (lambda videos: videos.append(videos[0] | {"num_frames_stored": 0}), "expected 2 lines, found more"),
        (lambda videos: videos[0].update(num_frames_stored=-1), "line 1: num_frames_stored is -1"),
        (
            lambda videos: videos[1].update(num_frames_stored=6),
            "line 2: num_frames_stored is 6, num_frames_decoded is 5",
        ),
        (
            lambda videos: videos[1].update(num_frames_decoded=2**32 + 1),
            "line 2: num_frames_stored is 5, num_frames_decoded is 4294967297",
        ),
        (
            lambda videos: videos[1].update(num_frames_stored=6, num_frames_decoded=6),
            "its videos hold 11 frames, generation.json has 10",
        ),
        (lambda videos: videos[1].update(surprise=1), "line 2: Object contains unknown field `surprise`"),
        (lambda videos: videos[1].pop("verdict"), "line 2: Object missing required field `verdict`"),
        (lambda videos: videos[0].update(facts={"x": "x" * (1 << 20)}), "line 1: more than 1048576 bytes"),
        (lambda videos: videos[0].update(facts={"x": [[]] * 10_000}), "more than any video has"),
        (lambda videos: videos[0].update(facts={"x": [[[[1]]]]}), "line 1: "),
    ],
)
def test_a_table_that_is_wrong_is_refused_though_the_hashes_are_right(cache, change, message):
    edit_videos(cache, change)
    store = frame_store.open_store(cache)  # which has no use for the table
    with pytest.raises(StoreFormatError) as caught:
        _ = store.video_entries
    assert message in str(caught.value) and "videos.jsonl: " in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda sound: sound[:-1], "line 2: does not end with a newline"),
        (lambda sound: b"\n" + sound, "line 1: "),
        (lambda sound: sound.replace(b"\n", b"", 1), "line 1: "),
        (lambda sound: b"\xff" + sound[1:], "line 1: "),
        (lambda sound: b"", "expected 2 lines, found 0"),
    ],
)
def test_bytes_that_are_no_table_are_refused_though_the_hashes_are_right(cache, table, content, message):
    table.write_bytes(content(table.read_bytes()))
    resign(cache)
    with pytest.raises(StoreFormatError) as caught:
        read_tree(cache).read_videos()
    assert f"videos.jsonl: {message}" in str(caught.value)


def test_a_record_has_all_that_findings_can_list(cache):
    """The longest lists that a build writes are within the limits of a line."""
    gap = {"frame": 10**6, "seconds": 0.1}

    def change(videos):
        videos[0]["findings"] = {
            "num_packets_discarded": 0,
            "num_packets_corrupt": 0,
            "num_corrupt_runs": 99,
            "corrupt_runs": [[0, 1]] * 16,
            "num_damaged_spans": 0,
            "damaged_spans": [],
            "num_frames_hashed": 0,
            "num_frames_duplicate": 0,
            "num_duplicate_runs": 99,
            "duplicate_runs": [[0, 1]] * 16,
            "longest_duplicate_run": [0, 1],
            "start_offset_seconds": 0.0,
            "median_step_seconds": 0.04,
            "num_frames_without_pts": 0,
            "num_pts_gaps": 99,
            "pts_gaps": [gap] * 16,
            "num_pts_repeats": 99,
            "pts_repeats": [1] * 16,
            "num_frames_interlaced": 0,
            "num_format_changes": 0,
            "format_changes": [],
        }

    edit_videos(cache, change)
    assert len(read_tree(cache).read_videos()[0].findings.pts_gaps) == 16


def test_more_videos_than_the_table_has_are_not_allocated(cache):
    edit_generation(cache, lambda m: m.update(num_videos=10**15))
    with pytest.raises(StoreFormatError, match="num_videos is 1000000000000000, the manifest has 2"):
        frame_store.open_store(cache)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, (None, None, None, None, None)),
        (
            {
                "width": 640,
                "height": 480,
                "average_rate": [30000, 1001],
                "end_seconds_of_packets": 2,
                "color_transfer": "bt709",
            },
            (640, 480, 30000 / 1001, 2.0, "bt709"),
        ),
        (
            {
                "width": 10**400,
                "height": "480",
                "average_rate": [1, 0],
                "end_seconds_of_packets": True,
                "color_transfer": 5,
            },
            (None, None, None, None, None),
        ),
        ({"average_rate": [1, 2, 3], "width": None}, (None, None, None, None, None)),
        ({"average_rate": ["a", []], "height": []}, (None, None, None, None, None)),
        ({"average_rate": 25}, (None, None, None, None, None)),
    ],
)
def test_odd_facts_of_a_stranger_count_as_unknown(facts, expected):
    entry = made_up_video("v.mp4", 7, 20)
    row = msgspec.structs.replace(entry, facts=facts, verdict="damaged", sha256="ab").row
    assert (row.width, row.height, row.fps, row.duration_seconds, row.transfer) == expected
    assert (row.path, row.verdict, row.sha256) == ("v.mp4", "damaged", "ab")
    assert (row.num_frames_stored, row.num_frames_decoded) == (7, 20)
    assert VideoTable([row])[0] == row
