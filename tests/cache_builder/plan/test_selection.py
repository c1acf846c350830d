"""`--fps`: at the true rate every frame, at a lower one the frame shown at each tick, however pts were rounded."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from cache_builder.errors import VideoError
from cache_builder.plan import selection
from cache_builder.plan.selection import make_selection, shown_at_ticks
from cache_builder.settings import BuildConfig
from cache_builder.settings.frame_times import LONGEST_TICKS, fit_frame_times
from cache_builder.video.scan.video_scan import scan_video
from tests.support.videos.matroska_edit import matroska_of, with_clusters_at

Rounding = Callable[[Fraction], int]


def half_away_from_zero(value: Fraction) -> int:
    """FFmpeg's AV_ROUND_NEAR_INF."""
    return int(math.copysign(math.floor(abs(value) + Fraction(1, 2)), value))


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


ROUNDINGS: tuple[Rounding, ...] = (half_up, half_away_from_zero, math.floor, math.ceil)
USUAL_RATES = tuple(
    Fraction(text)
    for text in ("24000/1001", "24", "25", "30000/1001", "30", "48", "50", "60000/1001", "60", "120", "10")
)
TIME_BASES = tuple(Fraction(1, units) for units in (1000, 90_000, 600, 12_800, 44_100, 240, 10**6, 10**9))


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Frames of a true rate, in a container that rounds their times."""

    rate: Fraction
    time_base: Fraction
    start: Fraction
    num_frames: int
    rounding: Rounding
    has_rate_in_header: bool = True
    missing: frozenset[int] = frozenset()

    @property
    def frames(self) -> list[int]:
        """Numbers of the frames that are there."""
        return [number for number in range(self.num_frames) if number not in self.missing]

    @property
    def pts(self) -> list[int]:
        return [self.rounding((self.start + number / self.rate) / self.time_base) for number in self.frames]


def kept(pts: list[int], fps: Fraction, *, time_base: Fraction, rate_in_header: Fraction | None) -> list[int]:
    """Positions of the frames that a build keeps."""
    times = fit_frame_times(
        np.sort(np.array(pts, np.int64)),
        time_base=time_base,
        rate_in_header=rate_in_header,
        rate_wanted=fps,
    )
    keeps = shown_at_ticks(fps, times)
    return [
        position
        for position, (one, following) in enumerate(zip(pts, [*pts[1:], None], strict=True))
        if keeps(position, one, following)
    ]


def kept_of(recording: Recording, fps: Fraction) -> list[int]:
    rate = recording.rate if recording.has_rate_in_header else None
    return kept(recording.pts, fps, time_base=recording.time_base, rate_in_header=rate)


def shown_at_each_tick(recording: Recording, fps: Fraction) -> list[int]:
    """Positions of the frames on the screen at the ticks, from the true times: the oracle."""
    times = [number / recording.rate for number in recording.frames]
    end = times[-1] + 1 / recording.rate
    num_ticks = math.ceil(end * fps)
    return sorted({int(np.searchsorted(times, tick / fps, side="right")) - 1 for tick in range(num_ticks)})


@st.composite
def recordings(draw, *, rates=None, has_gaps=False, longest_unit=Fraction(1)) -> Recording:
    """Recordings whose time base has units of at most `longest_unit` frames, and a third of one beside gaps.

    Without a rate in the header, a frame lasts three units or more: a few coarser pts leave the rate open.
    """
    rate = draw(st.sampled_from(USUAL_RATES) if rates is None else rates)
    # Any time base whose unit is at most as long as a frame, even the coarsest.
    finest_of_rate = st.builds(lambda n: 1 / (rate * n), st.integers(1, 40))
    bases = st.sampled_from([base for base in TIME_BASES if base * rate <= 1]) | finest_of_rate
    if not has_gaps:
        bases |= st.integers(math.ceil(rate), 2000).map(lambda units: Fraction(1, units))
    longest = min(longest_unit, Fraction(1, 3) if has_gaps else Fraction(1))
    time_base = draw(bases.filter(lambda base: base * rate <= longest))
    num_frames = draw(st.integers(1, 300))
    numbers = st.integers(1, max(1, num_frames - 1))
    return Recording(
        rate=rate,
        time_base=time_base,
        start=draw(st.fractions(-100, 100, max_denominator=10_000)),
        num_frames=num_frames,
        rounding=draw(st.sampled_from(ROUNDINGS)),
        has_rate_in_header=time_base * rate > Fraction(1, 3) or draw(st.booleans()),
        missing=draw(st.frozensets(numbers, max_size=20)) if has_gaps else frozenset(),
    )


MILLISECONDS = Recording(
    rate=Fraction(30), time_base=Fraction(1, 1000), start=Fraction(0), num_frames=300, rounding=half_up
)


COARSE = Recording(
    rate=Fraction(30000, 1001),
    time_base=Fraction(1, 30),
    start=Fraction(594, 109),
    num_frames=16,
    rounding=half_up,
    has_rate_in_header=False,
)
"""Half its rate explains 9 of its 16 frames, with timestamps that are wrong by up to a unit."""


class TestFpsAtTheTrueRate:
    @given(recordings())
    @example(MILLISECONDS)
    def test_keeps_every_frame(self, recording):
        assert kept_of(recording, recording.rate) == list(range(recording.num_frames))

    @given(recordings(rates=st.fractions(1, 200, max_denominator=1001)))
    def test_keeps_every_frame_at_any_rate(self, recording):
        assert kept_of(recording, recording.rate) == list(range(recording.num_frames))

    @given(recordings(has_gaps=True))
    def test_keeps_every_frame_beside_missing_ones(self, recording):
        assert kept_of(recording, recording.rate) == list(range(len(recording.frames)))

    @given(recordings(), st.integers(2, 50), st.fractions(1, 10, max_denominator=977))
    @example(
        Recording(
            rate=Fraction(48),
            time_base=Fraction(1, 214),
            start=Fraction(0),
            num_frames=4,
            rounding=math.floor,
        ),
        2,
        Fraction(43, 32),
    )
    def test_keeps_every_frame_of_recordings_joined_at_any_phase(self, recording, num_after, pause):
        period_units = 1 / (recording.rate * recording.time_base)
        if period_units < 3:
            return
        # After the pause the muxer rounds times that are not a multiple of a frame after the first.
        start = recording.start + recording.num_frames / recording.rate + pause
        after = [start + number / recording.rate for number in range(num_after)]
        pts = recording.pts + [recording.rounding(time / recording.time_base) for time in after]
        found = kept(pts, recording.rate, time_base=recording.time_base, rate_in_header=recording.rate)
        assert found == list(range(len(pts)))

    @given(recordings(), st.fractions(1, 5, max_denominator=100))
    def test_a_higher_rate_keeps_every_frame(self, recording, factor):
        assert kept_of(recording, recording.rate * factor) == list(range(recording.num_frames))


class TestFpsBelowTheTrueRate:
    @given(recordings(), st.integers(2, 60))
    @example(MILLISECONDS, 3)
    @example(COARSE, 2)
    def test_a_part_of_the_rate_keeps_every_nth_frame(self, recording, factor):
        found = kept_of(recording, recording.rate / factor)
        assert found == list(range(0, recording.num_frames, factor))

    @given(recordings(), st.fractions(Fraction(1, 4), 200, max_denominator=100))
    def test_keeps_the_frame_shown_at_each_tick(self, recording, fps):
        """Needs the rate in the header: rounded pts alone cannot distinguish 29.97 from 30 in a short video."""
        times = kept(recording.pts, fps, time_base=recording.time_base, rate_in_header=recording.rate)
        assert times == shown_at_each_tick(recording, fps)

    @given(
        recordings(has_gaps=True, longest_unit=Fraction(1, 10)),
        st.fractions(Fraction(1, 4), 60, max_denominator=20),
    )
    def test_keeps_the_frame_shown_at_each_tick_beside_missing_ones(self, recording, fps):
        """Needs a fine time base and most of the frames: else a wanted rate may explain what is left of the pts."""
        assume(2 * len(recording.frames) >= recording.num_frames)
        found = kept(recording.pts, fps, time_base=recording.time_base, rate_in_header=recording.rate)
        assert found == shown_at_each_tick(recording, fps)

    @given(
        st.lists(st.integers(1, 10_000), max_size=100),
        st.integers(-(10**12), 10**12),
        st.fractions(Fraction(1, 10), 240, max_denominator=1001),
        st.sampled_from([None, *USUAL_RATES]),
    )
    def test_of_a_variable_rate_no_frame_is_off_by_more_than_a_unit(self, steps, start, fps, rate_in_header):
        time_base = Fraction(1, 1000)
        pts = (start + np.concatenate([[0], np.cumsum(steps)])).astype(np.int64)
        times = fit_frame_times(pts, time_base=time_base, rate_in_header=rate_in_header, rate_wanted=fps)
        seconds = [times.seconds(int(one), last_of_equal=True) for one in pts]
        assert seconds == sorted(seconds)
        assert seconds[0] == 0
        errors = [abs(found / time_base - int(one - pts[0])) for found, one in zip(seconds, pts, strict=True)]
        assert max(errors) <= 1
        assert kept(pts.tolist(), fps, time_base=time_base, rate_in_header=rate_in_header)[0] == 0


class TestTimestamps:
    def test_coarser_than_the_frames_are_distinguished_by_their_order(self):
        pts = [number // 2 for number in range(40)]  # 60 frames a second in units of 1/30
        found = kept(pts, Fraction(60), time_base=Fraction(1, 30), rate_in_header=None)
        assert found == list(range(40))

    def test_that_are_all_the_same_keep_the_last_frame(self):
        assert kept([7, 7, 7], Fraction(25), time_base=Fraction(1, 25), rate_in_header=None) == [2]

    def test_of_a_day_in_nanoseconds_are_exact(self):
        rate, num_frames = Fraction(24000, 1001), 24 * 3600 * 24
        pts = [(number * 10**9 * 1001 + 12_000) // 24_000 for number in range(num_frames)]
        times = fit_frame_times(
            np.array(pts), time_base=Fraction(1, 10**9), rate_in_header=None, rate_wanted=rate
        )
        last = times.seconds(pts[-1], last_of_equal=True)
        assert last == (num_frames - 1) / rate

    def test_of_packets_that_are_never_shown_do_no_harm(self):
        pts = [round(number * 1000 / 30) for number in range(300)]
        hidden = [one + 1 for one in pts[7::40]]
        times = fit_frame_times(
            np.sort(np.array(pts + hidden)),
            time_base=Fraction(1, 1000),
            rate_in_header=Fraction(30),
            rate_wanted=Fraction(30),
        )
        keeps = shown_at_ticks(Fraction(30), times)
        assert all(keeps(0, one, following) for one, following in zip(pts, [*pts[1:], None], strict=True))

    def test_further_apart_than_int64_tells_are_refused(self, tmp_path):
        path = tmp_path / "v.mkv"
        picture = matroska_of([np.zeros((32, 32, 3), np.uint8)])
        path.write_bytes(with_clusters_at(picture, [2**62 + 5000, -(2**62) - 5000]))
        scanned = scan_video(path, path.name)
        assert int(scanned.packets.pts.max()) - int(scanned.packets.pts.min()) > 2**63
        with pytest.raises(VideoError, match=r"timestamps are up to 9,223,\S+ ticks apart, so fps"):
            make_selection(BuildConfig(fps=10.0), scanned)
        make_selection(BuildConfig(stride=2), scanned)

    @pytest.mark.parametrize("num_frames", [2, 3, 5])
    def test_as_far_apart_as_they_may_be_are_taken(self, num_frames):
        pts = np.linspace(0, 1, num_frames)
        pts = (pts * (LONGEST_TICKS // 2)).astype(np.int64) * 2
        for start in (-(2**62), 0, -5):
            times = fit_frame_times(
                pts + start, time_base=Fraction(1, 10**9), rate_in_header=None, rate_wanted=Fraction(30)
            )
            seconds = [times.seconds(int(one), last_of_equal=True) for one in pts + start]
            assert seconds == [Fraction(int(one), 10**9) for one in pts]

    def test_are_fitted_once_for_all_units_of_a_video(self, tmp_path, monkeypatch):
        path = tmp_path / "v.mkv"
        path.write_bytes(matroska_of([np.full((32, 32, 3), number, np.uint8) for number in range(9)]))
        rates = []

        def fit_and_count(pts, **options):
            rates.append(options["rate_wanted"])
            return fit_frame_times(pts, **options)

        monkeypatch.setattr(selection, "fit_frame_times", fit_and_count)
        selection._fit.cache_clear()
        for fps in (12.5, 6.25, 12.5, 6.25):
            make_selection(BuildConfig(fps=fps), scan_video(path, path.name))
        assert rates == [Fraction(25, 2), Fraction(25, 4)]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (29.97, "30000/1001"),
        (23.976, "24000/1001"),
        (23.98, "24000/1001"),
        (59.94, "60000/1001"),
        (119.88, "120000/1001"),
        (29.97003, "30000/1001"),
        (30.0, "30"),
        (29.9, "29.9"),
        (29.96, "29.96"),
        (12.5, "12.5"),
        (0.1, "0.1"),
    ],
)
def test_a_decimal_of_a_television_rate_means_that_rate(written, meant):
    assert BuildConfig(fps=written).exact_fps == Fraction(meant)
