"""One law for every codec and container here: built is one sequential pass, and live is built, in any order."""

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache_builder.errors import VideoError
from frame_store.shared.wording import counted
from tests.support.videos.sample_streams import KINDS, sample_stream, write_stream
from tests.support.videos.three_ways import build, look_up, one_pass, rising, scan

ALL = [(kind.name, suffix) for kind in KINDS for suffix in kind.suffixes]
MAX_DEPTH = 16
"""Frames that a plain decoder holds back of H.264 that does not state its reordering; with fewer it would drop some."""

TELLING = [(name, suffix) for name, suffix in ALL if name.startswith(("h264", "hevc", "vp9", "mpeg2", "png"))]
"""Streams whose decoders notice most of what is wrong, and make the same of it each time."""

_unhurried = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("three_ways")


def passed_once(path, scanned, kind_name):
    return one_pass(path, scanned, reorder_depth=MAX_DEPTH if kind_name == "h264-late-b" else None)


@pytest.mark.parametrize(("kind_name", "suffix"), ALL)
def test_whole_streams(folder, kind_name, suffix):
    sample = sample_stream(kind_name)
    path = folder / f"{kind_name}.{suffix}"
    write_stream(sample, path, [(0, len(sample.packets))])
    scanned = scan(path)
    built = build(path, scanned, min_packets=5)
    assert built.entry.verdict == "whole", built.entry.reason
    assert built.frames == passed_once(path, scanned, kind_name)
    assert len(built.frames) == len(sample.packets)
    store, found = look_up(path, scanned, min_packets=5, seed=1, num=12)
    assert len(store) == len(built.frames)
    assert found == {frame: built.frames[frame] for frame in found}
    np.testing.assert_array_equal(store.index["pts_seconds"], built.pts_seconds)
    assert not scanned.facts.has_pts or rising(built.pts_seconds)


@st.composite
def runs_of_packets(draw, streams, *, may_begin_anywhere):
    """A stream, a container, and one or two runs of its packets, the second from a keyframe on."""
    kind_name, suffix = draw(st.sampled_from(streams))
    packets = sample_stream(kind_name).packets
    keyframes = [number for number, packet in enumerate(packets) if packet[4]]
    runs = []
    for number in range(draw(st.integers(1, 2))):
        is_anywhere = may_begin_anywhere and number == 0
        first = draw(st.integers(0, len(packets) - 1) if is_anywhere else st.sampled_from(keyframes))
        runs.append((first, draw(st.integers(first + 1, len(packets)))))
    return kind_name, suffix, runs


@given(runs_of_packets(ALL, may_begin_anywhere=False), st.integers(1, 30), st.integers(0, 2**16))
@_unhurried
def test_streams_cut_and_joined(folder, made, min_packets, seed):
    kind_name, suffix, runs = made
    path = folder / f"cut.{suffix}"
    write_stream(sample_stream(kind_name), path, runs)
    try:
        scanned = scan(path)
    except VideoError:  # nothing of it can be decoded
        return
    built = build(path, scanned, min_packets=min_packets)
    store, found = look_up(path, scanned, min_packets=min_packets, seed=seed, num=12)
    assert len(store) == len(built.frames)
    assert found == {frame: built.frames[frame] for frame in found}
    np.testing.assert_array_equal(store.index["pts_seconds"], built.pts_seconds)
    if built.entry.verdict == "whole":  # joined where pictures need those before them, it is not
        assert built.frames == passed_once(path, scanned, kind_name)
        lost = scanned.facts.num_packets - len(built.frames)
        assert not lost or any(
            f"gave {counted(len(built.frames), 'frame')}: " in note for note in built.entry.notes
        )


@given(
    runs_of_packets(TELLING, may_begin_anywhere=True),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2**12)), max_size=3),
    st.integers(1, 30),
    st.integers(0, 2**16),
)
@_unhurried
def test_damaged_streams(folder, made, damage, min_packets, seed):
    kind_name, suffix, runs = made
    path = folder / f"damaged.{suffix}"
    try:
        write_stream(sample_stream(kind_name), path, runs, damage=damage)
    except av.FFmpegError:  # the muxer does not take it
        return
    try:
        scanned = scan(path)
    except VideoError:
        return
    built = build(path, scanned, min_packets=min_packets)
    store, found = look_up(path, scanned, min_packets=min_packets, seed=seed, num=12, is_counted=True)
    assert len(store) == len(built.frames)
    for frame, checksum in found.items():  # a live store raises an error where it cannot give a build's frame
        assert isinstance(checksum, VideoError) or checksum == built.frames[frame] or built.is_named(frame)
