"""`videos.jsonl`: the table of the videos of a generation, read only when it is asked for (FORMAT.md section 3.3)."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from frame_store.errors import StoreDamagedError, StoreFormatError
from frame_store.files import OpenFile, open_inside
from frame_store.frame_findings import FrameFindings, Record
from frame_store.manifest.generation import Generation
from frame_store.manifest.records import Fidelity, JsonValue
from frame_store.manifest.signed_json import decode_plain, num_json_values
from frame_store.names import VIDEOS_NAME, Verdict
from frame_store.shared import counted, raise_if_out_of_files
from frame_store.video_table import VideoRow

MAX_LINE_BYTES: Final = 1 << 20
MAX_VIDEOS_BYTES: Final = 1 << 34
"""16 GiB, enough for some 10,000,000 videos."""
MIN_BYTES_PER_VALUE: Final = 10
MAX_FACT: Final = 1 << 53
"""Greater numbers of `facts` count as unknown."""
MAX_FRAMES_OF_VIDEO: Final = 1 << 32
"""`frame_in_video` has four bytes."""
MAX_SHORT_VALUES: Final = 250
"""Values of a line that may be denser than `MIN_BYTES_PER_VALUE`: runs of frames are short."""


class VideoSpan(Record, frozen=True, kw_only=True):
    """Where a video lies in a file that holds several, such as the episodes of a LeRobot data set."""

    file: str
    """Path of the file, as its source names it."""
    first_frame: int
    """Number, among the frames that decode in the file, of the video's first frame."""
    from_seconds: float
    """Pts in the file at which the source says that the video begins."""
    to_seconds: float

    def __post_init__(self) -> None:
        """Refuse what no stretch of a file is."""
        if self.first_frame < 0 or not self.from_seconds <= self.to_seconds:
            raise ValueError(
                f"a span begins at frame {self.first_frame} and lasts from {self.from_seconds} to {self.to_seconds} s"
            )


class VideoEntry(Record, frozen=True, kw_only=True):
    """A row of the table of videos; `video_id` is its position."""

    path: str
    """Relative to the videos' folder, forward slashes; the name of the episode where one file holds several."""
    span: VideoSpan | None
    """None for a video that is a file of its own. Otherwise `num_bytes`, `sha256`, `num_packets` and `facts` are those
    of the file, and all else is about the frames of this video alone."""
    verdict: Verdict
    reason: str | None
    """Why the video is not whole; None for whole videos."""
    notes: list[str]
    """Differences that are not damage: counts of the header or of packets that decoding did not confirm."""
    num_bytes: int | None
    sha256: str | None
    num_frames_in_header: int | None
    num_packets: int | None
    num_frames_decoded: int
    num_frames_stored: int
    num_frames_corrupt: int
    num_decoder_errors: int
    pts_monotonic: bool | None
    """Whether pts rises strictly in output order; None where the stream has no pts."""
    fidelity: Fidelity | None
    findings: FrameFindings | None
    """What decoding found out about the frames; None where nothing was decoded."""
    facts: dict[str, JsonValue]
    """The scan's other facts (codec, size, colour, how frames are to be shown, time base), informative."""

    @property
    def row(self) -> VideoRow:
        """What every store tells about a video. A fact that is no plain number or text counts as unknown."""
        facts, rate = self.facts, self.facts.get("average_rate")
        fps = None
        if type(rate) is list and len(rate) == 2:
            above, below = map(_number, rate)
            fps = above / below if above and below else None
        width, height = _number(facts.get("width")), _number(facts.get("height"))
        transfer = facts.get("color_transfer")
        duration = _number(facts.get("end_seconds_of_packets"))
        if self.span is not None:  # the facts are those of the file
            duration = self.span.to_seconds - self.span.from_seconds
        return VideoRow(
            path=self.path,
            verdict=self.verdict,
            num_frames_stored=self.num_frames_stored,
            num_frames_decoded=self.num_frames_decoded,
            width=None if width is None else int(width),
            height=None if height is None else int(height),
            fps=fps,
            duration_seconds=duration,
            transfer=transfer if type(transfer) is str else None,
            sha256=self.sha256,
            first_frame_in_file=None if self.span is None else self.span.first_frame,
        )


def _number(fact: JsonValue) -> float | None:
    """A number that a double holds exactly, or nearly; None for anything else."""
    is_number = type(fact) in {int, float} and abs(fact) <= MAX_FACT
    return float(fact) if is_number else None


def encode_videos(entries: Iterable[VideoEntry]) -> Iterator[bytes]:
    """The lines of `videos.jsonl`, each with its newline. Equal entries give equal bytes."""
    for entry in entries:
        yield msgspec.json.encode(entry) + b"\n"


def read_videos(
    store_path: Path, folder: str, generation: Generation, *, cache_name: str | None = None
) -> list[VideoEntry]:
    """The table of videos of the generation in `folder` of the cache; a video's position is its local video_id.

    The SHA-256 of the file is compared before anything in it is used. A record takes some 2.5 kB of memory. Messages
    have `cache_name` for what the cache is called, if not by `store_path`.

    Raises:
        StoreDamagedError: the file is missing, a link, cannot be read, or differs from what `generation.json` states.
        StoreFormatError: a line is no record of a video, or the lines contradict `generation.json`.
        OSError: no more files can be opened.
    """
    try:
        return list(stream_videos(store_path, folder, generation, cache_name=cache_name))
    except MemoryError as error:
        path = store_path / folder / VIDEOS_NAME
        raise StoreFormatError(f"{path}: takes more memory than the machine has") from error


def stream_videos(
    store_path: Path, folder: str, generation: Generation, *, cache_name: str | None = None
) -> Iterator[VideoEntry]:
    """`read_videos`, record by record, so that they need not all be in memory. Raises the same, also in the middle."""
    path = store_path / folder / VIDEOS_NAME
    try:
        file = _open_checked(store_path, folder, generation, cache_name or str(store_path))
        yield from _decode_lines(file, generation, name=str(path))
    except OSError as error:
        raise_if_out_of_files(error)
        raise StoreDamagedError(
            f"{path}: {error.strerror}; run cache-verify on {cache_name or store_path}"
        ) from error


def _open_checked(store_path: Path, folder: str, generation: Generation, cache_name: str) -> OpenFile:
    """The open table, which has the size and the SHA-256 of its entry in `generation.json`."""
    entry = generation.file(VIDEOS_NAME)
    path = store_path / folder / VIDEOS_NAME
    file = open_inside(store_path, f"{folder}/{VIDEOS_NAME}")
    num_bytes = os.fstat(file.number).st_size
    if num_bytes > MAX_VIDEOS_BYTES:
        raise StoreFormatError(f"{path}: {counted(num_bytes, 'byte')}, at most {MAX_VIDEOS_BYTES} are read")
    problem = None
    if num_bytes != entry.num_bytes:
        problem = f"expected {counted(entry.num_bytes, 'byte')}, found {num_bytes}"
    else:
        with os.fdopen(os.dup(file.number), "rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != entry.sha256:
                problem = "sha256 differs from that in generation.json"
    if problem is not None:
        raise StoreDamagedError(f"{path}: {problem}; run cache-verify on {cache_name}")
    return file


def _decode_lines(file: OpenFile, generation: Generation, *, name: str) -> Iterator[VideoEntry]:
    num_videos, num_frames = 0, 0
    with os.fdopen(os.dup(file.number), "rb") as stream:
        stream.seek(0)
        while line := stream.readline(MAX_LINE_BYTES + 1):
            where = f"{name}: line {num_videos + 1}"
            _check_line(line, where)
            entry = decode_plain(line, VideoEntry, name=where)
            if not 0 <= entry.num_frames_stored <= entry.num_frames_decoded <= MAX_FRAMES_OF_VIDEO:
                raise StoreFormatError(
                    f"{where}: num_frames_stored is {entry.num_frames_stored}, num_frames_decoded is "
                    f"{entry.num_frames_decoded}"
                )
            num_videos += 1
            num_frames += entry.num_frames_stored
            if num_videos > generation.num_videos:
                break
            yield entry
    if num_videos != generation.num_videos:
        found = "more" if num_videos > generation.num_videos else num_videos
        raise StoreFormatError(f"{name}: expected {counted(generation.num_videos, 'line')}, found {found}")
    if num_frames != generation.num_frames:
        raise StoreFormatError(
            f"{name}: its videos hold {counted(num_frames, 'frame')}, generation.json has {generation.num_frames}"
        )


def _check_line(line: bytes, where: str) -> None:
    """Raise StoreFormatError for a line that would take far more memory than a record, or that was cut."""
    if len(line) > MAX_LINE_BYTES:
        raise StoreFormatError(f"{where}: more than {counted(MAX_LINE_BYTES, 'byte')}")
    if not line.endswith(b"\n"):
        raise StoreFormatError(f"{where}: does not end with a newline")
    num_values = num_json_values(line)
    if num_values > MAX_SHORT_VALUES + len(line) // MIN_BYTES_PER_VALUE:
        raise StoreFormatError(
            f"{where}: {counted(num_values, 'value')} in {counted(len(line), 'byte')}, more than any video has"
        )
