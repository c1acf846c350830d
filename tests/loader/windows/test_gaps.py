"""Whole windows of a cache made with --fps keep the step of its clock."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader import SamplingError
from loader.windows import Windows, anchors_with_whole_windows, whole, window_spec
from tests.loader.windows.decoded_store import DecodedStore

CLOCK = 0.25


def anchors_of(store, clocks, monkeypatch, **options):
    monkeypatch.setattr(whole, "clock_seconds_of_videos", lambda base: np.array(clocks))
    found = anchors_with_whole_windows(Windows(store, window_spec(edges="whole", **options)))
    return sorted(found.anchors.cache_ids(np.arange(len(found.anchors))).tolist()), found.notes


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.lists(st.sampled_from([1, 2, 3, 7]), max_size=8), min_size=1, max_size=3),
    offsets=st.lists(st.integers(-3, 3), min_size=1, max_size=3),
    tolerance=st.sampled_from([None, 0.0, 0.25]),
    is_shuffled=st.booleans(),
    has_clock=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_no_window_leads_over_a_gap(steps, offsets, tolerance, is_shuffled, has_clock):
    """Steps are counted in eighths of a second, and the clock's is two of them."""
    pts = [[float(time) for time in np.cumsum([0, *of_video]) / 8] for of_video in steps]
    num_frames = sum(map(len, pts))
    order = np.random.default_rng(1).permutation(num_frames) if is_shuffled else None
    store = DecodedStore(pts, [list(range(len(times))) for times in pts], order=order)
    clocks = [CLOCK if clocked else np.nan for clocked in has_clock[: len(pts)]]
    limit = CLOCK / 2 if tolerance is None else tolerance
    expected = []
    for video, times in enumerate(pts):
        ids = store.ids_of_video(video).tolist()
        for frame in range(len(times)):
            first, last = frame + min(offsets), frame + max(offsets)
            if first < 0 or last >= len(times):
                continue
            gaps = np.abs(np.diff(times[first : last + 1]) - clocks[video])
            keeps = gaps < limit if tolerance is None else gaps <= limit + 1e-9
            if np.isnan(clocks[video]) or keeps.all():
                expected.append(ids[frame])
    with pytest.MonkeyPatch.context() as monkeypatch:
        if not expected:
            with pytest.raises(SamplingError, match="edges='whole'"):
                anchors_of(store, clocks, monkeypatch, frame_offsets=offsets, tolerance_seconds=tolerance)
            return
        found, _ = anchors_of(store, clocks, monkeypatch, frame_offsets=offsets, tolerance_seconds=tolerance)
    assert found == sorted(expected)


def test_videos_with_gaps_are_named(monkeypatch):
    regular = [0, 0.25, 0.5, 0.75]
    pts = [regular, [0, 0.25, 1.5, 1.75], [0, 9.0], regular, [0, 0.5, 1.0, 1.5, 2.0]]
    store = DecodedStore(pts, [list(range(len(times))) for times in pts])
    found, notes = anchors_of(store, [CLOCK] * 5, monkeypatch, frame_offsets=(0, 1))
    assert found == [0, 1, 2, 4, 6, 10, 11, 12]
    assert notes == (
        "7 of 19 frames are in 2 videos without a whole window: 002.mp4, 004.mp4",
        "3 videos have gaps in time between frames that --fps chose, and windows over one are left out: "
        "001.mp4, 002.mp4, 004.mp4",
    )
    with pytest.raises(SamplingError, match=r"has a whole window of .*; 1 video has gaps in time"):
        anchors_of(DecodedStore([[0.0, 9.0]], [[0, 1]]), [CLOCK], monkeypatch, frame_offsets=(0, 1))
    padded = window_spec(frame_offsets=(0, 1), edges="pad")
    assert (
        not Windows(store, padded).request(np.arange(19)).frame_is_pad[4:7].any()
    )  # `pad` has no such check
