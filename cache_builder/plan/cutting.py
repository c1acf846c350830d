"""Cuts a file into its episodes: which frames of the file belong to which of them. A pure function of timestamps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from cache_builder.sources import EpisodeSpan
from frame_store.shared import counted

_DIGITS: Final = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """The frames [first_frame, end_frame) of a file, in output order, that are an episode."""

    first_frame: int
    end_frame: int

    @property
    def num_frames(self) -> int:
        """Number of frames of the episode."""
        return self.end_frame - self.first_frame


def cut_file(
    pts_seconds: npt.NDArray[np.float64], episodes: Sequence[tuple[str, EpisodeSpan]]
) -> list[Cut | str]:
    """For each episode (name, span) of a file its frames, or why it cannot be cut out.

    `pts_seconds`, shape (num_frames,), has the frames that decode in the file, in output order; NaN where a frame has
    no timestamp. Each entry of `frame_seconds` belongs to the nearest frame. A reason names the frame, counted from the
    start of the episode, what was expected, and what was found.

    An episode that fits by itself gets a reason, too, where another one does not fit, and all would with one shift of
    their times: its own times then show pictures of a neighbour.
    """
    clock = _Clock(pts_seconds)
    spans = [span for _, span in episodes]
    cuts = [clock.cut(span) for span in spans]
    if any(isinstance(cut, str) for cut in cuts) and (doubt := clock.doubt(spans)) is not None:
        cuts = [cut if isinstance(cut, str) else doubt for cut in cuts]
    return _without_overlaps(cuts, [name for name, _ in episodes])


class _Clock:
    """Finds frames of a file by their time."""

    def __init__(self, pts_seconds: npt.NDArray[np.float64]) -> None:
        timed = np.flatnonzero(~np.isnan(pts_seconds))
        self._frames = timed[np.argsort(pts_seconds[timed], kind="stable")]
        self._seconds = pts_seconds[self._frames]

    def cut(self, span: EpisodeSpan) -> Cut | str:
        expected = span.frame_seconds
        if not len(expected):
            return "no frame of it is promised"
        if not len(self._frames):
            return f"{counted(len(expected), 'frame')} expected, and its file gives none with a timestamp"
        places = self._nearest(expected)
        far = np.flatnonzero(~(np.abs(self._seconds[places] - expected) <= span.tolerance_seconds))
        if len(far):
            return self._distance_text(int(far[0]), int(places[far[0]]), span)
        frames = self._frames[places]
        apart = np.flatnonzero(np.diff(frames) != 1)
        if len(apart):
            return self._order_text(int(apart[0]), frames, expected)
        return Cut(first_frame=int(frames[0]), end_frame=int(frames[-1]) + 1)

    def doubt(self, spans: Sequence[EpisodeSpan]) -> str | None:
        """Why no time of these episodes can be trusted: all of them fit if the first begins at the file's first frame.

        None if they do not, or if it does begin there.
        """
        times = np.concatenate([np.zeros(0), *(span.frame_seconds for span in spans)])
        if not len(times) or not len(self._frames):
            return None
        first, begin = float(times.min()), float(self._seconds[0])
        shift = begin - first
        if abs(shift) <= min(span.tolerance_seconds for span in spans):
            return None
        if any(isinstance(self.cut(_shifted(span, shift)), str) for span in spans):
            return None
        return (
            f"its file begins at {begin:.{_DIGITS}f} s and its first episode at {first:.{_DIGITS}f} s; not all of its "
            f"episodes fit, and with times {abs(shift):.{_DIGITS}f} s {'later' if shift > 0 else 'earlier'} all do, "
            "so the frames at its times may be those of another episode"
        )

    def _nearest(self, expected: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Place of the nearest frame of each time; of several that are equally near, the first."""
        after = np.searchsorted(self._seconds, expected)
        right = np.minimum(after, len(self._seconds) - 1)
        left = np.searchsorted(self._seconds, self._seconds[np.maximum(after - 1, 0)])
        is_left_nearer = np.abs(self._seconds[left] - expected) <= np.abs(self._seconds[right] - expected)
        return np.where(is_left_nearer, left, right).astype(np.int64)

    def _distance_text(self, number: int, place: int, span: EpisodeSpan) -> str:
        seconds, found = float(span.frame_seconds[number]), float(self._seconds[place])
        expected = f"frame {number} of {len(span.frame_seconds)} is expected at {seconds:.{_DIGITS}f} s"
        if seconds > float(self._seconds[-1]):
            return f"{expected}, and its file ends with a frame at {found:.{_DIGITS}f} s"
        return (
            f"{expected}, and the nearest frame of its file is at {found:.{_DIGITS}f} s: "
            f"{abs(found - seconds):.{_DIGITS}f} s away, at most {span.tolerance_seconds:g} s are allowed"
        )

    def _order_text(
        self, number: int, frames: npt.NDArray[np.int64], expected: npt.NDArray[np.float64]
    ) -> str:
        one, other = frames[number : number + 2].tolist()
        found = (
            f"are both frame {one} of its file"
            if one == other
            else f"are frames {one} and {other} of its file, which do not follow one another"
        )
        times = " and ".join(f"{seconds:.{_DIGITS}f}" for seconds in expected[number : number + 2].tolist())
        return f"frames {number} and {number + 1} of {len(expected)}, expected at {times} s, {found}"


def _shifted(span: EpisodeSpan, seconds: float) -> EpisodeSpan:
    return replace(span, frame_seconds=span.frame_seconds + seconds)


def _without_overlaps(cuts: Sequence[Cut | str], names: Sequence[str]) -> list[Cut | str]:
    """The same cuts, with a reason for each of two episodes that share frames."""
    found = list(cuts)
    rows = [(cut.first_frame, row) for row, cut in enumerate(cuts) if isinstance(cut, Cut)]
    longest: tuple[int, Cut] | None = None
    for _, row in sorted(rows):
        cut = cuts[row]
        assert isinstance(cut, Cut)
        if longest is not None and cut.first_frame < longest[1].end_frame:
            other, other_cut = longest
            last = min(cut.end_frame, other_cut.end_frame) - 1
            for one, two in ((row, other), (other, row)):
                if isinstance(found[one], Cut):
                    found[one] = (
                        f"it overlaps with {names[two]}: both have frames {cut.first_frame} to {last} of their file"
                    )
        if longest is None or cut.end_frame > longest[1].end_frame:
            longest = row, cut
    return found
