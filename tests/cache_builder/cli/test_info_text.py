"""The text of `cache-info`: settings and facts of the videos first, `unknown` for what the cache lacks."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_builder.cli import cache_info
from cache_builder.cli.info.text import info_text, videos_table
from frame_store.manifest import read_tree
from tests.support.caches.tree import videos_of
from tests.support.commands import run
from tests.support.videos.tiny_videos import tiny_video


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A cache of two videos with different frame rates, built with every setting given."""
    top = tmp_path_factory.mktemp("info")
    tiny_video(top / "videos", path=top / "videos" / "25.mp4", num_frames=20)
    tiny_video(top / "videos", path=top / "videos" / "odd.mkv", num_frames=13)
    (top / "videos" / "broken.mp4").write_bytes(b"no video at all")
    flags = ["--size", "48x64", "--resize", "stretch", "--crop-aspect", "4:3", "--stride", "2"]
    flags += ["--frames-per-shard", "9", "--workers", "1", "--on-error", "skip"]
    assert run(top / "videos", "--out", top / "cache", *flags).exit_code == 1
    return top / "cache"


def tree_with(cache, config):
    """The tree of a cache of one generation, with another configuration in it."""
    tree = read_tree(cache)
    (only,) = tree.generations
    changed = replace(only, generation=msgspec.structs.replace(only.generation, config=config))
    return replace(tree, generations=(changed,))


def cells(line):
    return line.replace(" s ", "s ").split()


def test_settings_come_first(built):
    lines = run(built, command=cache_info).stdout.splitlines()
    assert lines[0] == f"{built}: 17 frames of 48x64 RGB from 3 videos"
    assert lines[1] == "  size       48x64 (height x width), resize stretch, crop-aspect 4:3"
    assert lines[2] == "  frames     stride 2, fps none, frames-per-shard 9"
    assert "  videos     2 whole, 1 unreadable" in lines
    assert "  stored as  wds, jpeg quality 95 chroma 444, layout shuffled, seed 0" in lines


def test_videos_say_size_rate_codec_and_duration_before_all_else(built):
    lines = run(built, "--videos", command=cache_info).stdout.splitlines()
    (head,) = [line for line in lines if "verdict" in line]
    assert head.split()[:7] == ["video", "width", "height", "fps", "codec", "duration", "verdict"]
    (line,) = [line for line in lines if "'25.mp4'" in line]
    assert cells(line)[:7] == ["'25.mp4'", "160", "96", "25", "h264", "0.80s", "whole"]
    (line,) = [line for line in lines if "'odd.mkv'" in line]
    assert cells(line)[4:7] == ["h264", "0.52s", "whole"]
    (line,) = [line for line in lines if "'broken.mp4'" in line]
    assert cells(line)[:8] == ["!", "'broken.mp4'", *["unknown"] * 5, "unreadable"]


def test_what_a_cache_lacks_is_unknown(built):
    videos = [msgspec.structs.replace(video, facts={}, findings=None) for video in videos_of(built)]
    text = info_text(tree_with(built, {}), videos, path="x", list_videos=True)
    assert "(height x width), resize unknown, crop-aspect unknown\n" in text
    assert "stride unknown, fps unknown, frames-per-shard unknown\n" in text
    assert text.count("unknown") >= 5 + 3 * 5


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FACTS = ("width", "height", "codec", "average_rate", "duration_seconds_in_header", "end_seconds_of_packets")
CONFIG = ("geometry", "stride", "fps", "frames_per_shard")


@given(
    facts=st.dictionaries(st.sampled_from(FACTS), JSON),
    config=st.dictionaries(st.sampled_from(CONFIG), JSON),
    has_truth=st.booleans(),
)
@settings(max_examples=40)
def test_no_value_in_a_cache_breaks_it(built, facts, config, has_truth):
    video, *others = videos_of(built)
    odd = msgspec.structs.replace(video, facts=facts, findings=video.findings if has_truth else None)
    text = info_text(tree_with(built, config), [odd, *others], path="x", list_videos=True)
    assert "  size       48x64" in text and repr(video.path) in text


def test_no_videos_no_table():
    assert videos_table([]) == []
