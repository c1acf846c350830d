"""A file is cut into episodes by the times of its frames alone, or each reason says what was expected and found."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cache_builder.plan import Cut, cut_file
from cache_builder.sources import EpisodeSpan

TOLERANCE = 1e-4


def span(times, tolerance=TOLERANCE):
    times = np.asarray(times, np.float64)
    start, end = (float(times[0]), float(times[-1])) if len(times) else (0.0, 0.0)
    return EpisodeSpan(from_seconds=start, to_seconds=end, frame_seconds=times, tolerance_seconds=tolerance)


def cut(pts, *spans):
    return cut_file(np.asarray(pts, np.float64), [(f"e{row}", one) for row, one in enumerate(spans)])


def cut_plainly(pts, spans):
    """The same by a plain loop: (first, end) of each episode, None where it cannot be cut.

    Where one does not fit, and all do with the first moved to the first frame of the file, none can be trusted.
    """
    found = fitted_plainly(pts, spans)
    timed = pts[~np.isnan(pts)]
    shift = min(timed, default=0) - min(one.frame_seconds[0] for one in spans)
    if None in found and len(timed) and abs(shift) > TOLERANCE:
        moved = [span(one.frame_seconds + shift) for one in spans]
        if None not in fitted_plainly(pts, moved):
            return [None] * len(spans)
    overlaps = {
        row
        for row, one in enumerate(found)
        for other in found[:row] + found[row + 1 :]
        if one and other and one[0] < other[1] and other[0] < one[1]
    }
    return [None if row in overlaps else one for row, one in enumerate(found)]


def fitted_plainly(pts, spans):
    found = []
    for one in spans:
        frames = []
        for seconds in one.frame_seconds:
            distances = np.abs(pts - seconds)
            if np.isnan(distances).all() or np.nanmin(distances) > one.tolerance_seconds:
                break
            frames.append(int(np.nanargmin(distances)))
        is_run = frames == list(range(frames[0], frames[0] + len(frames))) if frames else False
        is_whole = is_run and len(frames) == len(one.frame_seconds)
        found.append((frames[0], frames[-1] + 1) if is_whole else None)
    return found


@st.composite
def files(draw):
    """Pts of a file, some off their clock or missing, and episodes, most of them where they should be."""
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    between = draw(st.lists(st.integers(0, 2), min_size=len(lengths), max_size=len(lengths)))
    fps = draw(st.sampled_from([10.0, 30.0, 29.97]))
    start = draw(st.sampled_from([0.0, 1 / 3, 460.0]))
    jitter = st.sampled_from([0.0, 0.0, 0.4 * TOLERANCE, -0.9 * TOLERANCE, 3 * TOLERANCE])
    pts, spans = [], []
    for length, gap in zip(lengths, between, strict=True):
        first = len(pts) + gap
        times = start + (first + np.arange(length)) / fps
        pts += [start + (len(pts) + extra) / fps for extra in range(gap + length)]
        spans.append(span(times + draw(st.sampled_from([0, 0, 0, 0, 1, -1])) / fps))
    pts = np.array([value + draw(jitter) for value in pts])
    for lost in draw(st.lists(st.integers(0, len(pts) - 1), max_size=1)):
        pts = np.delete(pts, lost)
    if len(pts) and draw(st.booleans()) and draw(st.booleans()):
        pts[draw(st.integers(0, len(pts) - 1))] = np.nan
    return pts, spans


@given(files())
@example((np.array([0.0, 0.1, 0.1, 0.2]), [span([0.0, 0.1, 0.2])]))
def test_cutting_agrees_with_a_plain_loop(file):
    pts, spans = file
    found = [(one.first_frame, one.end_frame) if isinstance(one, Cut) else None for one in cut(pts, *spans)]
    assert found == cut_plainly(pts, spans)


def test_frames_between_episodes_and_offsets_of_the_file_do_not_matter():
    pts = 460 + np.arange(10) / 10
    assert cut(pts, span(pts[7:]), span(pts[1:4])) == [
        Cut(first_frame=7, end_frame=10),
        Cut(first_frame=1, end_frame=4),
    ]


@pytest.mark.parametrize(
    ("pts", "times", "reason"),
    [
        ([0.0, 0.1, 0.25], [0.0, 0.1, 0.2], "frame 2 of 3 is expected at 0.200000 s, and the nearest frame of its "
         "file is at 0.250000 s: 0.050000 s away, at most 0.0001 s are allowed"),
        ([0.0, 0.1], [0.0, 0.1, 0.2], "frame 2 of 3 is expected at 0.200000 s, and its file ends with a frame at "
         "0.100000 s"),
        ([0.0, 0.05, 0.1], [0.0, 0.1], "frames 0 and 1 of 2, expected at 0.000000 and 0.100000 s, are frames 0 and 2 "
         "of its file, which do not follow one another"),
        ([0.0, 0.1], [0.1, 0.10005], "frames 0 and 1 of 2, expected at 0.100000 and 0.100050 s, are both frame 1 of "
         "its file"),
        ([np.nan], [0.0], "1 frame expected, and its file gives none with a timestamp"),
        ([0.0], [], "no frame of it is promised"),
    ],
)  # fmt: skip
def test_a_reason_says_what_was_expected_and_found(pts, times, reason):
    assert cut(pts, span(times)) == [reason]


def test_episodes_that_share_frames_are_both_named():
    pts = np.arange(9) / 10
    first, second, third = cut(pts, span(pts[0:4]), span(pts[3:6]), span(pts[6:9]))
    assert first == "it overlaps with e1: both have frames 3 to 3 of their file"
    assert second == "it overlaps with e0: both have frames 3 to 3 of their file"
    assert third == Cut(first_frame=6, end_frame=9)


@pytest.mark.parametrize("frames", [5, -5])
def test_where_one_shift_fits_all_episodes_of_a_file_and_not_all_fit_none_is_trusted(frames):
    pts = np.arange(6, 26) / 10
    times = pts + frames / 10
    found = cut(pts, span(times[:7]), span(times[7:12]), span(times[12:]))
    way = "earlier" if frames > 0 else "later"
    assert all(isinstance(one, str) for one in found)
    assert any(f"with times 0.500000 s {way} all do" in one for one in found)
    assert "its file begins at 0.600000 s and its first episode at" in found[1]


def test_an_episode_that_does_not_fit_alone_leaves_the_others_of_its_file():
    pts = np.arange(20) / 10
    far = span(pts[:7] + 460)
    assert cut(pts, far, span(pts[7:12]), span(pts[12:]))[1:] == [
        Cut(first_frame=7, end_frame=12),
        Cut(first_frame=12, end_frame=20),
    ]


def test_lost_first_frames_of_a_file_leave_its_other_episodes():
    pts = np.arange(2, 20) / 10
    first, other = cut(pts, span(np.arange(7) / 10), span(np.arange(7, 20) / 10))
    assert isinstance(first, str)
    assert other == Cut(first_frame=5, end_frame=18)
