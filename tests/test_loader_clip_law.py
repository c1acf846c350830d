# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
from fractions import Fraction

import numpy as np
import pytest

from loader.bias_formulas import chi2_of_dropped_tail, chi2_of_law
from loader.clip_law import (
    chi2_of_sliding_clips,
    chi2_of_sliding_windows,
    share_of_slowed_clips,
    sliding_clip_law,
    sliding_window_law,
    whole_clips_can_be_uniform,
)
from loader.errors import SamplingError
from tests.support.enumeration import assert_equal, assert_rejected

WINDOWS = [(12, 4), (9, 7), (20, 1), (15, 15), (33, 8), (7, 4)]
CLIPS = [
    ([12, 5, 9], 3, 2),
    ([12, 5, 9], 4, 1),
    ([7, 30, 2, 11], 4, 3),
    ([6, 6], 2, 5),
    ([40], 5, 7),
    ([3, 8], 1, 9),
]


def clips_that_fit(video_lengths, clip_frames, stride):
    """Every clip, as frame ids; ids go on from video to video."""
    first, clips = 0, []
    for length in video_lengths:
        for start in range(length - (clip_frames - 1) * stride):
            clips.append(first + start + stride * np.arange(clip_frames))
        first += length
    return clips


def law_of(clips, num_frames):
    return np.bincount(np.concatenate(clips), minlength=num_frames) / sum(map(len, clips))


@pytest.mark.parametrize(("length", "span"), WINDOWS)
def test_S16_sliding_windows(length, span):
    law = law_of(clips_that_fit([length], span, 1), length)
    assert_equal(sliding_window_law(length, span), law)
    starts = length - span + 1
    assert_equal(np.convolve(np.full(starts, 1 / starts), np.full(span, 1 / span)), law)
    if span > 1 and starts > 1:
        assert_rejected(np.full(length, 1 / starts), law)  # every frame taken for an inner one


def test_S16_an_end_frame_is_shown_once_where_an_inner_one_is_shown_T_times():
    law = sliding_window_law(100, 16)
    assert law[50] / law[0] == pytest.approx(16)
    assert law[50] / law[-1] == pytest.approx(16)


def test_S16_a_linear_trend_does_not_notice_and_a_curved_one_does():
    excess = sliding_window_law(12, 4) - 1 / 12
    assert abs(excess @ np.arange(12)) < 1e-12
    assert excess @ (np.arange(12) - 5.5) ** 2 < -1


@pytest.mark.parametrize(("length", "span"), WINDOWS)
def test_S17_chi2_of_sliding_windows(length, span):
    law = law_of(clips_that_fit([length], span, 1), length)
    assert_equal(chi2_of_sliding_windows(length, span), chi2_of_law(law))
    starts = length - span + 1
    few, many = sorted((span, starts))
    squares = few * (few - 1) * (2 * few - 1) / 3 + (many - few + 1) * few**2
    assert_equal(length * squares / (span * starts) ** 2 - 1, chi2_of_law(law))
    if span > 1 and starts > 1:
        assert_rejected(length / starts - 1, chi2_of_law(law))


def test_S17_short_windows():
    assert chi2_of_sliding_windows(2000, 32) == pytest.approx(2 * 32 / (3 * 2000), rel=0.05)


@pytest.mark.parametrize(("lengths", "clip_frames", "stride"), CLIPS)
def test_S18_sliding_clips_of_many_videos(lengths, clip_frames, stride):
    law = law_of(clips_that_fit(lengths, clip_frames, stride), sum(lengths))
    options = {"clip_frames": clip_frames, "stride": stride}
    assert_equal(sliding_clip_law(lengths, **options), law)
    assert_equal(chi2_of_sliding_clips(lengths, **options), chi2_of_law(law))
    if clip_frames > 1:
        if len(lengths) > 1 and len(set(lengths)) > 1:  # a video drawn by its length, then a start in it
            by_video = [
                law_of(clips_that_fit([length], clip_frames, stride), length) * length / sum(lengths)
                for length in lengths
                if length > (clip_frames - 1) * stride
            ]
            assert_rejected(
                chi2_of_sliding_clips(lengths, **options), sum(lengths) * sum(p @ p for p in by_video) - 1
            )
        if stride > 1:  # a strided clip is not a window of its span
            window = {"clip_frames": (clip_frames - 1) * stride + 1}
            assert_rejected(chi2_of_sliding_clips(lengths, **window), chi2_of_law(law))


def test_S18_videos_too_short_for_a_clip_count_like_a_dropped_tail():
    long_only = chi2_of_sliding_clips([30, 40], clip_frames=6)
    dropped = chi2_of_dropped_tail(75, 5)
    assert_equal(chi2_of_sliding_clips([30, 5, 40], clip_frames=6), (1 + long_only) * (1 + dropped) - 1)
    assert_rejected(chi2_of_sliding_clips([30, 5, 40], clip_frames=6), long_only + dropped)


def test_S18_a_million_videos():
    lengths = np.random.default_rng(0).integers(50, 5000, 1_000_000)
    assert 0 < chi2_of_sliding_clips(lengths, clip_frames=16, stride=4) < 0.1


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("clip_frames", [1, 2, 3])
@pytest.mark.parametrize("length", range(1, 19))
def test_S19_whole_clips_are_uniform_only_where_T_q_divides_the_length(length, clip_frames, stride):
    clips = clips_that_fit([length], clip_frames, stride)
    uniform = np.full(length, 1 / length)
    miss = 1.0
    if clips:
        # Columns are linearly independent, so the least squares weights are the only candidates.
        shown = np.stack([np.bincount(clip, minlength=length) / clip_frames for clip in clips], axis=1)
        weights, *_ = np.linalg.lstsq(shown, uniform, rcond=None)
        miss = np.abs(shown @ weights - uniform).max()
        assert np.linalg.matrix_rank(shown) == len(clips)
    expected = whole_clips_can_be_uniform([length], clip_frames=clip_frames, stride=stride)
    assert (miss < 1e-9) == expected
    if expected:
        assert (weights > -1e-9).all()


def anchored_outcomes(lengths, clip_frames, stride):
    """(probability, frames of the T slots) of the anchored rule, x left open: slots as exact laws over frames."""
    num_frames = sum(lengths)
    first = 0
    for length in lengths:
        for anchor in range(length):
            for offset in range(clip_frames * stride):
                block = (anchor - offset) // (clip_frames * stride)
                unit = [
                    first + frame
                    for frame in range(length)
                    if (frame - offset) // (clip_frames * stride) == block and (frame - anchor) % stride == 0
                ]
                yield Fraction(1, num_frames * clip_frames * stride), unit
        first += length


def slot_law(slot, unit_size, clip_frames):
    """Exact law of floor((slot + x) r / T) for x uniform in [0, 1): overlap of an interval of length r / T."""
    begin, end = Fraction(slot * unit_size, clip_frames), Fraction((slot + 1) * unit_size, clip_frames)
    return [
        max(Fraction(0), min(end, Fraction(frame + 1)) - max(begin, Fraction(frame)))
        * Fraction(clip_frames, unit_size)
        for frame in range(unit_size)
    ]


@pytest.mark.parametrize(("lengths", "clip_frames", "stride"), [*CLIPS, ([2, 1], 4, 1), ([5], 3, 4)])
def test_S20_anchored_clips_show_every_frame_alike(lengths, clip_frames, stride):
    num_frames = sum(lengths)
    law = [Fraction(0)] * num_frames
    repeat_last = np.zeros(num_frames)
    for probability, unit in anchored_outcomes(lengths, clip_frames, stride):
        assert 1 <= len(unit) <= clip_frames
        for slot in range(clip_frames):
            for frame, chance in zip(unit, slot_law(slot, len(unit), clip_frames), strict=True):
                law[frame] += probability * chance / clip_frames
            repeat_last[unit[min(slot, len(unit) - 1)]] += float(probability) / clip_frames
    assert law == [Fraction(1, num_frames)] * num_frames
    if clip_frames > 2:  # a unit of one frame has no other to repeat
        assert_rejected(
            repeat_last, np.full(num_frames, 1 / num_frames)
        )  # the last frame shown again and again


def test_S20_each_slot_alone_is_uniform_away_from_the_ends():
    lengths, clip_frames, stride = [20], 3, 2
    by_slot = np.zeros((clip_frames, 20))
    for probability, unit in anchored_outcomes(lengths, clip_frames, stride):
        for slot in range(clip_frames):
            for frame, chance in zip(unit, slot_law(slot, len(unit), clip_frames), strict=True):
                by_slot[slot, frame] += float(probability * chance)
    reach = (clip_frames - 1) * stride
    assert_equal(by_slot[:, reach:-reach], np.full((clip_frames, 20 - 2 * reach), 1 / 20))
    assert_rejected(by_slot, np.full((clip_frames, 20), 1 / 20))


def test_S20_a_uniform_choice_among_cut_blocks_is_biased():
    length, clip_frames = 11, 4
    law = np.zeros(length)
    for offset in range(clip_frames):
        blocks = (np.arange(length) - offset) // clip_frames
        for block in set(blocks.tolist()):
            frames = np.flatnonzero(blocks == block)
            law[frames] += 1 / clip_frames / len(set(blocks.tolist())) / len(frames)
    assert_rejected(law, np.full(length, 1 / length))


@pytest.mark.parametrize(
    ("lengths", "clip_frames", "stride"), [*CLIPS, ([2, 1], 4, 1), ([5], 3, 4), ([3], 4, 1)]
)
def test_S21_share_of_slowed_clips(lengths, clip_frames, stride):
    slowed = sum(
        probability
        for probability, unit in anchored_outcomes(lengths, clip_frames, stride)
        if len(unit) < clip_frames
    )
    assert_equal(share_of_slowed_clips(lengths, clip_frames=clip_frames, stride=stride), float(slowed))
    if clip_frames > 1:  # "every clip that starts in the last T q frames"
        assert_rejected(clip_frames * stride * len(lengths) / sum(lengths), float(slowed))


def test_S21_long_videos():
    assert_equal(share_of_slowed_clips([100, 60, 200], clip_frames=8, stride=3), 7 * 3 * 3 / 360)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: sliding_window_law(3, 4),
        lambda: chi2_of_sliding_windows(3, 0),
        lambda: sliding_clip_law([3], clip_frames=2, stride=3),
        lambda: chi2_of_sliding_clips([3], clip_frames=2, stride=0),
        lambda: share_of_slowed_clips([], clip_frames=2),
    ],
)
def test_clips_that_do_not_fit_are_refused(wrong):
    with pytest.raises(SamplingError):
        wrong()
