"""One law for every codec and container here: built is one sequential pass, and live is built, in any order."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache_builder.errors import VideoError
from tests.support.sample_streams import KINDS, sample_stream, write_stream
from tests.support.three_ways import build, look_up, one_pass, scan

ALL = [(kind.name, suffix) for kind in KINDS for suffix in kind.suffixes]
MAX_DEPTH = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("three_ways")


def check_undamaged(path: Path, *, min_packets: int, seed: int, kind_name: str) -> None:
    scanned = scan(path)
    # A plain decoder drops frames of H.264 that leaves its reordering unsaid, unless it holds back all that it may.
    depth = MAX_DEPTH if kind_name == "h264-late-b" else None
    expected = one_pass(path, scanned, reorder_depth=depth)
    built = build(path, scanned, min_packets=min_packets)
    assert built.frames == expected
    assert built.entry.verdict == "whole", built.entry.reason
    store, found = look_up(path, scanned, min_packets=min_packets, seed=seed, num=12)
    assert len(store) == len(built.frames)
    assert found == {frame: built.frames[frame] for frame in found}
    assert store.index["pts_seconds"].tolist() == built.pts_seconds or not scanned.facts.has_pts


@pytest.mark.parametrize(("kind_name", "suffix"), ALL)
def test_whole_streams(folder, kind_name, suffix):
    sample = sample_stream(kind_name)
    path = folder / f"{kind_name}.{suffix}"
    write_stream(sample, path, [(0, len(sample.packets))])
    check_undamaged(path, min_packets=5, seed=1, kind_name=kind_name)


@st.composite
def cuts(draw):
    """A stream, a container, and one or two runs of its packets that begin at keyframes."""
    kind_name, suffix = draw(st.sampled_from(ALL))
    sample = sample_stream(kind_name)
    keyframes = [number for number, packet in enumerate(sample.packets) if packet[4]]
    parts = []
    for _ in range(draw(st.integers(1, 2))):
        first = draw(st.sampled_from(keyframes))
        parts.append((first, draw(st.integers(first + 1, len(sample.packets)))))
    return kind_name, suffix, parts


@given(cuts(), st.integers(1, 30), st.integers(0, 2**16))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_streams_cut_and_joined(folder, made, min_packets, seed):
    kind_name, suffix, parts = made
    path = folder / f"cut.{suffix}"
    write_stream(sample_stream(kind_name), path, parts)
    try:
        scanned = scan(path)
    except VideoError:
        return
    check_damaged(path, scanned, min_packets=min_packets, seed=seed, kind_name=kind_name)


@st.composite
def damages(draw):
    """A stream, a container, runs of its packets that begin anywhere, and bytes that are wrong."""
    kind_name, suffix = draw(st.sampled_from(ALL))
    num = len(sample_stream(kind_name).packets)
    parts = []
    for _ in range(draw(st.integers(1, 2))):
        first = draw(st.integers(0, num - 1))
        parts.append((first, draw(st.integers(first + 1, num))))
    place = st.tuples(st.integers(0, sum(end - first for first, end in parts) - 1), st.integers(0, 2**12))
    return kind_name, suffix, parts, draw(st.lists(place, max_size=3))


@given(damages(), st.integers(1, 30), st.integers(0, 2**16))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_streams(folder, made, min_packets, seed):
    kind_name, suffix, parts, damage = made
    path = folder / f"damaged.{suffix}"
    write_stream(sample_stream(kind_name), path, parts, damage=damage)
    try:
        scanned = scan(path)
    except VideoError:
        return
    check_damaged(path, scanned, min_packets=min_packets, seed=seed, kind_name=kind_name)


def check_damaged(path, scanned, *, min_packets, seed, kind_name):
    depth = MAX_DEPTH if kind_name == "h264-late-b" else None
    expected = one_pass(path, scanned, reorder_depth=depth)
    built = build(path, scanned, min_packets=min_packets)
    store, found = look_up(path, scanned, min_packets=min_packets, seed=seed, num=12)
    if built.entry.verdict == "whole":
        assert built.frames == expected
        assert len(store) == len(built.frames)
        assert found == {frame: built.frames[frame] for frame in found}
        return
    assert len(built.frames) == len(expected)
    assert all(
        one == other or built.is_named(frame)
        for frame, (one, other) in enumerate(zip(built.frames, expected, strict=True))
    )
    # Where live cannot give what a build gives, it says so.
    for frame, checksum in found.items():
        if not isinstance(checksum, VideoError):
            assert checksum == built.frames[frame] or built.is_named(frame)
