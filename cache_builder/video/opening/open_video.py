"""Opens a file with FFmpeg and hands out its packets. Scan and decode share this code, so both see the same packets."""

import errno
import hashlib
import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from cache_builder.errors import VideoError
from cache_builder.video.opening.encryption import why_no_decoder, why_scrambled
from cache_builder.video.opening.limits import DEFAULT_LIMITS, VideoLimits
from cache_builder.video.opening.mp4_boxes import incomplete_mp4, top_level_boxes
from cache_builder.video.opening.not_a_video import name_what_it_is
from cache_builder.video.opening.watched_file import WatchedFile
from cache_builder.video.packets import VideoPacket

MAX_READ_ERRORS_IN_A_ROW: Final = 16
"""A demuxer may go on after a damaged stretch. One that fails this often without a packet will not."""

_CONTAINERS: Final = (
    *(
        "asf",
        "avi",
        "dv",
        "flv",
        "gxf",
        "ivf",
        "matroska",
        "mov",
        "mpeg",
        "mpegts",
        "mxf",
        "nut",
        "ogg",
        "rm",
        "wtv",
    ),
    *("av1", "h264", "hevc", "m4v", "mjpeg", "mpegvideo", "obu", "yuv4mpegpipe"),
)
"""FFmpeg's demuxers for the containers and bare streams of `VIDEO_EXTENSIONS`.

None of them opens a second file, as demuxers of playlists, DASH, image sequences, SDP and VobSub do. `mov` would, where
a track refers to data elsewhere; the options below forbid it. A file of any other format is refused.
"""

_DEMUXER_OPTIONS: Final = {
    "protocol_whitelist": "",  # empty: the file itself is open already
    "format_whitelist": ",".join(_CONTAINERS),
    # These are FFmpeg's defaults. With other values a video could make FFmpeg open any file of this machine.
    "enable_drefs": "0",
    "use_absolute_path": "0",
}

_METADATA_OF_ANY_ENCODING: Final[dict[str, Any]] = (
    {"metadata_errors": "surrogateescape"} if hasattr(InputContainer, "metadata_errors") else {}
)
"""A video is not refused because a tag is not UTF-8. PyAV 18 needs this option; later versions do not have it."""

_BUFFER_BYTES: Final = 1 << 15
"""Bytes that FFmpeg reads at once; FFmpeg's own default."""

_FAILURES_OF_THE_MACHINE: Final = frozenset(
    {errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETIMEDOUT}
)

_SILENT_ABOUT_DAMAGE: Final = frozenset({"mjpeg"})
"""Codecs whose decoder, by default, hands out a picture that it could not finish as if it were whole.

The missing part shows what was in memory before: an earlier picture, or another one after a seek.
"""

_STRICT: Final = {"err_detect": "explode"}
"""Refuse such a picture. Other decoders conceal damage and report it; their pictures are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenContainer:
    """An open video: FFmpeg's container, and the file that FFmpeg reads.

    Read from it by `seek` and `read_packets`, which raise errors that FFmpeg hides.
    """

    container: InputContainer
    file: WatchedFile

    def seek(self, offset: int, stream: VideoStream, *, by_byte: bool = False) -> None:
        """Go to the keyframe at or before `offset`, in ticks of `stream` or bytes of the file.

        Raises:
            av.FFmpegError: the container cannot seek there.
            OSError: the machine failed to read the file.
        """
        try:
            self.container.seek(offset, stream=stream, unsupported_byte_offset=by_byte)
        finally:
            self.file.check()

    def close(self) -> None:
        """Close both."""
        self.container.close()
        self.file.close()


def open_container(
    path: Path,
    relative_path: str,
    *,
    decodes_nothing: bool = False,
    probe_bytes: int | None = None,
    hwaccel: HWAccel | None = None,
    limits: VideoLimits = DEFAULT_LIMITS,
) -> OpenContainer:
    """Open a video file. Close it explicitly: a container that the garbage collector closes leaks memory.

    With `decodes_nothing`, and a container that lists its streams, FFmpeg decodes no picture to learn more of them: 2.5
    ms instead of 15 to 20 for 1080p H.264. Facts that only pictures contain are then unknown at first: the pixel
    format, and reordering where the stream does not state it. With `probe_bytes` FFmpeg reads ahead that many bytes, or
    one packet; by default it reads up to five seconds. `hwaccel` is a device that decodes instead of the CPU.

    Only this file is opened, whatever it contains. FFmpeg opens none: it reads through a `WatchedFile`.

    Raises:
        VideoError: FFmpeg cannot read it; one line with the reason, the same on every machine.
        OSError: the machine failed to read the file.
    """
    file = _open_file(path, relative_path)
    try:
        container = av.open(
            file,
            mode="r",
            options=_decoder_options(limits) | ({"skip_frame": "all"} if decodes_nothing else {}),
            # One stream more than the limit, so that too many streams are not reported as another failure.
            container_options=_DEMUXER_OPTIONS
            | {"max_streams": str(limits.max_streams + 1)}
            | ({} if probe_bytes is None else {"probesize": str(probe_bytes), "analyzeduration": "1"}),
            buffer_size=_BUFFER_BYTES,
            hwaccel=hwaccel,
            **_METADATA_OF_ANY_ENCODING,
        )
    except BaseException as error:
        with closing(file):
            file.check()
            if not isinstance(error, av.FFmpegError | ValueError | RuntimeError):
                raise
            try:
                reason = _why_not_opened(path, error, limits)
            except OSError as unread:
                raise OSError(unread.errno, unread.strerror, str(path)) from unread
            raise VideoError(relative_path, reason) from error
    opened = OpenContainer(container=container, file=file)
    try:
        file.check()
    except BaseException:
        opened.close()
        raise
    return opened


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hex. Reads every byte; FFmpeg may pass over bytes that it cannot read.

    Raises:
        OSError: a byte cannot be read; names the file.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def choose_video_stream(
    container: InputContainer, relative_path: str, *, limits: VideoLimits = DEFAULT_LIMITS
) -> VideoStream:
    """FFmpeg's best video stream; cover art does not count. Its decoder refuses frames beyond `limits`.

    From then on the demuxer passes over all other streams.

    Raises:
        VideoError: there is no video stream, or no decoder for it.
    """
    streams = [
        stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic
    ]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams if stream.type != "video"})
        has = f"only {', '.join(kinds)}" if kinds else "no stream at all"
        raise VideoError(relative_path, f"no video stream ({has})")
    best = container.streams.best("video")
    chosen = next(
        (stream for stream in streams if best is not None and stream.index == best.index), streams[0]
    )
    if chosen.codec_context is None:
        raise VideoError(relative_path, why_no_decoder(container, chosen))
    strictly = _STRICT if chosen.codec_context.codec.canonical_name in _SILENT_ABOUT_DAMAGE else {}
    chosen.codec_context.options = _decoder_options(limits) | strictly
    discard_others(container, chosen)
    return chosen


def discard_others(container: InputContainer, chosen: VideoStream) -> None:
    """Make the demuxer pass over every other stream.

    Otherwise an unreadable sample of another stream ends this one, for example missing sound in a cut-off file.
    """
    for stream in container.streams:
        if stream.index != chosen.index:
            stream.discard = Discard.all


def set_single_thread(stream: VideoStream) -> None:
    """Set one thread for the decoder. Units run in parallel instead, which is twice as fast."""
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1


def read_packets(
    opened: OpenContainer,
    stream: VideoStream,
    *,
    on_error: Callable[[av.FFmpegError], None] = lambda error: None,
) -> Iterator[VideoPacket]:
    """All packets of `stream` from the container's position on. Goes on after the demuxer's errors.

    `on_error` gets each of these errors. The empty packet with which PyAV ends a stream is left out.

    Raises:
        OSError: the machine failed to read the file. FFmpeg would go on after the bytes that are missing, or take
            the failure for the end of the file.
    """
    num_errors = 0
    while num_errors < MAX_READ_ERRORS_IN_A_ROW:
        try:
            for packet in opened.container.demux(stream):
                opened.file.check()
                if packet.size == 0 and packet.dts is None and packet.pts is None:
                    return
                num_errors = 0
                yield packet
        except av.FFmpegError as error:
            opened.file.check()
            on_error(error)
            num_errors += 1
        else:
            opened.file.check()
            return


def describe_error(error: Exception) -> str:
    """FFmpeg's message, without error numbers and paths."""
    if isinstance(error, MemoryError):
        return out_of_memory_text()
    text = str(getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
    if isinstance(
        error, av.error.ArgumentError
    ):  # FFmpeg reports frames beyond `max_pixels` by this error alone
        text += f" (as for frames of more than {DEFAULT_LIMITS.max_pixels:,} pixels, the limit)"
    return text


def out_of_memory_text() -> str:
    """The reason for a video for which this process did not get enough memory."""
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    has = f"the limit of {limit / 2**30:.1f} GiB a process" if limit != resource.RLIM_INFINITY else "there is"
    return f"it asks for more memory than {has}"


def _decoder_options(limits: VideoLimits) -> dict[str, str]:
    return {"max_pixels": str(limits.max_pixels)}


def _open_file(path: Path, relative_path: str) -> WatchedFile:
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        raise VideoError(relative_path, "its name is not valid UTF-8; rename it") from None
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise VideoError(relative_path, "not a regular file")
        if status.st_size == 0:
            raise VideoError(relative_path, "an empty file (0 bytes)")
        return WatchedFile(path)
    except PermissionError:
        raise VideoError(relative_path, "no permission to read it") from None
    except OSError as error:
        if error.errno in _FAILURES_OF_THE_MACHINE:
            raise
        raise VideoError(relative_path, f"cannot be opened: {error.strerror}") from None


def _why_not_opened(path: Path, error: Exception, limits: VideoLimits) -> str:
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError):
        kinds = {kind for kind, _ in top_level_boxes(path)}
        known = incomplete_mp4(kinds) or name_what_it_is(path, was_opened=False)
        if known is not None:
            return known
        if isinstance(error, av.error.InvalidDataError):
            return "not a video, or damaged at its beginning"
        return "not a video: a playlist, or a format that is not read"
    if isinstance(error, MemoryError):
        return f"{out_of_memory_text()}, or has more than {limits.max_streams} streams"
    return why_scrambled(path) or f"FFmpeg cannot open it: {describe_error(error)}"
