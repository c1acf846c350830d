"""What a report states of videos, as plain values."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from frame_store.html import Picture
from frame_store.manifest import Fidelity
from frame_store.names import Verdict

MarkKind: TypeAlias = Literal["damage", "lost", "gap", "corrupt", "repeat", "format", "duplicate", "unlisted"]
"""`damage`: frames that may be wrong; `lost`: frames that are missing beside damage, or at the end; `gap`: another time
without frames; `corrupt`: frames that the decoder flagged; `repeat`: a pts that is not after the one before; `format`:
another format of picture begins; `duplicate`: equal frames in a row; `unlisted`: where stretches lie that the cache
counts and does not record one by one. The worst kind is the first."""

MARK_WORDS: dict[MarkKind, str] = {
    "damage": "not to be trusted",
    "lost": "lost",
    "gap": "no frames",
    "corrupt": "flagged corrupt",
    "repeat": "time goes back",
    "format": "format changes",
    "duplicate": "equal frames",
    "unlisted": "more, place not recorded",
}


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A stretch of a time line, from `first` to `last` on its axis."""

    kind: MarkKind
    first: float
    last: float
    text: str
    """What it is, with frames and times."""


@dataclass(frozen=True, kw_only=True)
class TimeLine:
    """The time line of a video."""

    unit: Literal["s", "frame"]
    """Of the axis: seconds of pts, or the number of the frame where pts are not known."""
    start: float
    end: float
    marks: tuple[Mark, ...]
    num_marks_left_out: int
    """Marks that are counted, and too many to draw."""
    stored: tuple[float, ...]
    """Where the stored frames stand, if they are few enough to be drawn one by one; else empty."""
    shown: tuple[float, ...]
    """Where the pictures of the contact sheet stand."""


@dataclass(frozen=True, kw_only=True)
class SheetPicture:
    """A picture of a contact sheet."""

    picture: Picture
    frame_in_video: int
    seconds: float | None
    """Its pts; None where it is not known."""
    note: str = ""
    """Such as `in the damage`."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a damaged or unreadable video has lost."""

    num_frames_untrusted: int = 0
    """Frames of damaged stretches: the decoder gave them, and they may be wrong."""
    num_packets_missing: int = 0
    """Packets of damaged stretches that gave no frame."""
    seconds_missing: float = 0.0
    """Times without frames beside damage, and the end that the header claims and the file does not have."""
    texts: tuple[str, ...] = ()
    """What is missing, in words."""
    remedy: str | None = None
    """What a person can do; None for a whole video."""
    share: float = 0.0
    """Of the video: frames that may be wrong or are missing, 0 to 1. Videos are ranked by it."""


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """A video that the page shows."""

    video_id: int
    path: str
    file: str | None
    """The file that it is a stretch of; None for a file of its own."""
    verdict: Verdict | None
    """None: nobody has decoded all of it yet."""
    reason: str | None
    notes: tuple[str, ...]
    num_frames_decoded: int
    num_frames_stored: int
    num_frames_corrupt: int
    loss: Loss
    num_frames_duplicate: int | None
    width: int | None
    height: int | None
    fps: float | None
    seconds: float | None
    """From the start of its first frame to the end of its last one."""
    codec: str | None
    fidelity: Fidelity | None
    time_line: TimeLine | None
    sheet: tuple[SheetPicture, ...]
    problem: str | None = None
    """Why pictures could not be read; None if they could."""

    @property
    def needs_attention(self) -> bool:
        """Whether it is not whole."""
        return self.verdict not in {"whole", None}


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar of a plot of counts."""

    label: str
    count: int


@dataclass(frozen=True, kw_only=True)
class VideosSummary:
    """All videos together; each number counts all of them, shown or not."""

    num_videos: int
    num_whole: int
    num_damaged: int
    num_unreadable: int
    num_noted: int
    """Whole videos with notes."""
    num_frames_decoded: int
    num_frames_stored: int
    num_frames_stored_whole: int
    """Of the whole videos."""
    num_frames_corrupt: int
    num_frames_untrusted: int
    """Of the decoded frames, in damaged stretches."""
    num_videos_untrusted: int
    num_packets_missing: int
    seconds_missing: float
    num_videos_unread_parts: int
    """Videos of which a part of the file was not read, so that what is missing has no known length."""
    num_videos_with_gaps: int
    num_videos_with_duplicates: int
    num_frames_duplicate: int
    num_source_bytes: int
    """Of the files of the videos, each file once."""
    seconds: float
    """Together, of the videos whose length is known: of each, from its first frame to the end of its last."""
    lengths: tuple[Bar, ...]
    """Stored frames a video."""
    rates: tuple[Bar, ...]
    """Frames per second that the headers claim."""
    sizes: tuple[Bar, ...]
    codecs: tuple[Bar, ...]
    num_forgotten: int
    """Videos that the cache leaves out; no other number counts them."""
    num_frames_forgotten: int
    forgotten: tuple[str, ...]
    """The paths of the first ones."""

    @property
    def num_not_whole(self) -> int:
        """Damaged and unreadable videos."""
        return self.num_damaged + self.num_unreadable
