"""info.json that no data set has."""

import json
import re

import pytest

from cache_builder.errors import InputFolderError
from cache_builder.sources import look_into
from tests.support.lerobot import REMOVED, edit_info, write_lerobot

FRONT = "observation.images.front"


@pytest.fixture
def root(tmp_path):
    write_lerobot(tmp_path, lengths=(3, 4), with_videos=False)
    return tmp_path


def feature(key, **changes):
    """A change of one feature; None as `changes["of"]` takes it away."""

    def change(features):
        if changes.get("removed"):
            del features[key]
        else:
            features[key] = {**features.get(key, {}), **changes}
        return features

    return change


CASES = {
    "no version": ({"codebase_version": REMOVED}, "has no key 'codebase_version'"),
    "version is a number": ({"codebase_version": 3}, "codebase_version must be a text, found int"),
    "no features": ({"features": REMOVED}, "has no key 'features'"),
    "features are a list": ({"features": []}, "features must be an object, found list"),
    "a feature is a text": (
        {"features": lambda old: old | {"x": "float32"}},
        "feature 'x' must be an object, found str",
    ),
    "a feature without dtype": ({"features": lambda old: old | {"x": {}}}, "feature 'x': has no key 'dtype'"),
    "a feature without shape": (
        {"features": lambda old: old | {"x": {"dtype": "bool"}}},
        "feature 'x': has no key 'shape'",
    ),
    "a shape of nothing": (
        {"features": feature("action", shape=[0])},
        r"feature 'action': shape must be a list of positive whole numbers, found \[0\]",
    ),
    "a shape of flags": (
        {"features": feature("action", shape=[True])},
        r"feature 'action': shape must be a list of positive whole numbers, found \[True\]",
    ),
    "a shape of texts": ({"features": feature("action", shape=["4"])}, "feature 'action': shape must be"),
    "names that differ by case": (
        {"features": feature("Action", dtype="float32", shape=[4])},
        "column 'Action' and 'action' differ by case alone",
    ),
    "no index": (
        {"features": feature("index", removed=True)},
        r"expected a feature 'index' of whole numbers of shape \[1\], found none",
    ),
    "timestamps are whole": (
        {"features": feature("timestamp", dtype="int64")},
        r"expected a feature 'timestamp' of floating-point numbers of shape \[1\], found dtype int64 of shape \(\)",
    ),
    "a vector of episodes": (
        {"features": feature("episode_index", shape=[2])},
        r"expected a feature 'episode_index' of whole .* found dtype int64 of shape \(2,\)",
    ),
    "no camera": (
        {"features": feature(FRONT, removed=True)},
        "no feature has the dtype 'video', so there are no videos to build from$",
    ),
    "pictures alone": (
        {"features": feature(FRONT, dtype="image")},
        "no feature has the dtype 'video', .*; 'observation.images.front' is pictures inside Parquet files",
    ),
    "too many cameras": (
        {"features": lambda old: old | {f"c{number}": old[FRONT] for number in range(100)}},
        "there are 101 cameras, at most 100 are read",
    ),
    "a camera of another path": (
        {"features": lambda old: old | {"a\nb": old[FRONT]}},
        "a camera's name must be printable text",
    ),
    "a camera without shape": (
        {"features": lambda old: old | {FRONT: {"dtype": "video"}}},
        f"feature '{FRONT}': has no key 'shape'",
    ),
    "a camera of two dimensions": (
        {"features": feature(FRONT, shape=[64, 96])},
        rf"feature '{FRONT}': the shape of a camera has three numbers, found \[64, 96\]",
    ),
    "no fps": ({"fps": REMOVED}, "has no key 'fps'"),
    "fps of zero": ({"fps": 0}, "fps must be a positive number, found 0"),
    "fps is no number": ({"fps": "30"}, "fps must be a number, found str"),
    "fps is a flag": ({"fps": True}, "fps must be a number, found bool"),
    "fps is beyond floats": ({"fps": 10**400}, "fps must be a positive number, found 1000"),
    "fps is infinite": ({"fps": float("inf")}, "fps must be a positive number, found inf"),
    "no total_episodes": ({"total_episodes": REMOVED}, "has no key 'total_episodes'"),
    "no episodes": ({"total_episodes": 0}, "total_episodes must be 1 or more, found 0"),
    "half a frame": ({"total_frames": 6.5}, "total_frames must be a number, found float"),
    "no data_path": ({"data_path": REMOVED}, "has no key 'data_path'"),
    "video_path is null": ({"video_path": None}, "video_path must be a text, found NoneType"),
    "video_path without the camera": (
        {"video_path": "videos/{chunk_index}/{file_index}.mp4"},
        r"video_path: expected a path with the fields \{video_key\} and \{chunk_index\} and \{file_index\}, found",
    ),
    "video_path looks into Python": (
        {"video_path": "{video_key.__class__}/{chunk_index}/{file_index}.mp4"},
        r"video_path: expected a path with the fields .*, found '\{video_key.__class__\}",
    ),
    "v2 paths": (
        {"data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"},
        "data_path: expected a path with the fields",
    ),
    "more frames than there are": (
        {"total_frames": 8},
        "has total_frames 8, and its 2 episodes have 7 in all",
    ),
    "fewer frames": ({"total_frames": 6}, "has total_frames 6, and its 2 episodes have 7 in all"),
    "more episodes": (
        {"total_episodes": 3},
        "meta/episodes has 2 episodes, meta/info.json has total_episodes 3",
    ),
    "fewer episodes": (
        {"total_episodes": 1},
        r"meta/episodes/.*file-000.parquet has 2 rows, expected at most 1 \(meta/info.json has total_episodes 1\)",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_with_what_was_expected_and_found(root, name):
    changes, text = CASES[name]
    edit_info(root, **changes)
    with pytest.raises(InputFolderError) as caught:
        look_into(root)
    assert str(caught.value).startswith(f"{root}: meta/")
    assert re.search(text, str(caught.value)), str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "no JSON that can be read: Expecting"),
        ("[]", "expected a JSON object, found list"),
        ('{"a": ' * 100_000, "nested too deep|Expecting"),
        ("\xff", "no JSON"),
        ('{"a": "' + "x" * (1 << 24) + '"}', "JSON of 16777217 bytes, at most 16777216 are read"),
    ],
    ids=["cut", "list", "deep", "no UTF-8", "large"],
)
def test_what_is_no_json_says_how_to_read_plain_videos(root, text, reason):
    (root / "meta/info.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputFolderError, match=reason) as caught:
        look_into(root)
    assert "to read it as plain videos, give its subfolders or a list of videos" in str(caught.value)


def test_stats_may_hold_nan_and_are_refused_otherwise(root):
    (root / "meta/stats.json").write_text('{"action": {"mean": [NaN]}}')
    assert "NaN" in look_into(root).dataset.statement["stats"]
    (root / "meta/stats.json").write_text("[1]")
    with pytest.raises(InputFolderError, match=r"meta/stats\.json is no JSON"):
        look_into(root)


def test_a_statement_that_no_cache_could_record_is_refused(root):
    (root / "meta/stats.json").write_text(json.dumps({"a": {"b": "\n" * ((1 << 23) - 99)}}))
    (root / "meta/info.json").write_text(
        json.dumps(json.loads((root / "meta/info.json").read_text()) | {"notes": "\n" * (1 << 22)})
    )
    with pytest.raises(InputFolderError, match="a cache would record, at most 33554432 are"):
        look_into(root)


def test_a_statement_that_a_cache_would_refuse_to_open_is_refused(root):
    """Text without spaces: see `is_too_dense`."""
    (root / "meta/stats.json").write_text(json.dumps({"a": {"b": "," * 9000}}))
    with pytest.raises(InputFolderError, match="more commas and brackets than a cache records"):
        look_into(root)
