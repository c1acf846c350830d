"""What the container states about a stream and FFmpeg's decoders leave to the program: cropping, Dolby Vision.

PyAV 19 gives these records (`CodecContext.coded_side_data`). PyAV 18 gives only the text that `av_dump_format` writes
from the same records.
"""

import re
import struct
from dataclasses import dataclass
from typing import Final

from av.container import InputContainer
from av.video.stream import VideoStream

from cache_builder.video.ffmpeg_log import dump_container
from cache_builder.video.picture.geometry import WHOLE_PICTURE, ContainerCrop

_CROPPING_TEXT: Final = re.compile(r"^ +Frame Cropping: (\d+)/(\d+)/(\d+)/(\d+)\s*$", re.MULTILINE)
"""Left, right, top, bottom: `dump_cropping` in libavformat/dump.c."""

_DOLBY_VISION_TEXT: Final = re.compile(
    r"^ +DOVI configuration record: .*\bprofile: (\d+), .*\bcompatibility id: (\d+)", re.MULTILINE
)

_PROFILES_OF_ONE_LAYER: Final = frozenset({5, 10, 20})
"""Dolby Vision over HEVC, AV1 and stereo HEVC. In these profiles the base layer may be for no other display."""

_DOLBY_TAGS: Final = frozenset({"dvh1", "dvhe", "dav1"})
"""Sample entries of streams that only Dolby's decoders should show."""


@dataclass(frozen=True, kw_only=True)
class DolbyVision:
    """A Dolby Vision configuration record.

    Attributes:
        profile: 5, 7, 8...
        compatibility_id: Which other displays the base layer is for: 1 HDR10, 2 SDR, 4 HLG, 6 Blu-ray; 0 none.
    """

    profile: int
    compatibility_id: int


@dataclass(frozen=True, kw_only=True)
class ContainerSideData:
    """What the container states about one video stream."""

    crop: ContainerCrop = WHOLE_PICTURE
    """What the container cuts off each picture: `clap` of MOV and MP4, `PixelCrop...` of Matroska."""
    dolby_vision: DolbyVision | None = None


def read_container_side_data(container: InputContainer, stream: VideoStream) -> ContainerSideData:
    """Read the records, as FFmpeg read them, of a video stream that has a decoder."""
    by_kind = getattr(stream.codec_context, "coded_side_data", None)
    if by_kind is None:
        return parse_dump(dump_container(container), stream_index=stream.index)
    return parse_records(by_kind)


def parse_records(by_kind: dict[str, bytes]) -> ContainerSideData:
    """Read AV_PKT_DATA_FRAME_CROPPING and AV_PKT_DATA_DOVI_CONF, as laid out in libavcodec/packet.h, dovi_meta.h."""
    crop, dolby_vision = WHOLE_PICTURE, None
    if (cropping := by_kind.get("frame_cropping")) is not None and len(cropping) >= 16:
        top, bottom, left, right = struct.unpack("<4I", cropping[:16])
        crop = ContainerCrop(left=left, right=right, top=top, bottom=bottom)
    if (record := by_kind.get("dovi_conf")) is not None and len(record) >= 8:
        # One byte each: two for the version, then profile, level, three flags, compatibility.
        dolby_vision = DolbyVision(profile=record[2], compatibility_id=record[7])
    return ContainerSideData(crop=crop, dolby_vision=dolby_vision)


def parse_dump(text: str, *, stream_index: int) -> ContainerSideData:
    """Read the records of a stream from the text of `av_dump_format`."""
    streams = re.split(r"^  Stream #0:", text, flags=re.MULTILINE)
    ours = next((part for part in streams[1:] if re.match(rf"{stream_index}\b", part)), "")
    # Metadata come first, and may contain any line except one that begins like this.
    side_data = ours.rpartition("\n    Side data:\n")[2] if "\n    Side data:\n" in ours else ""
    crop, dolby_vision = WHOLE_PICTURE, None
    if (match := _CROPPING_TEXT.search(side_data)) is not None:
        left, right, top, bottom = (int(number) for number in match.groups())
        crop = ContainerCrop(left=left, right=right, top=top, bottom=bottom)
    if (match := _DOLBY_VISION_TEXT.search(side_data)) is not None:
        dolby_vision = DolbyVision(profile=int(match[1]), compatibility_id=int(match[2]))
    return ContainerSideData(crop=crop, dolby_vision=dolby_vision)


def why_no_rgb(dolby_vision: DolbyVision | None, codec_tag: str) -> str | None:
    """Why the pictures of a stream cannot become RGB: they have Dolby Vision's own colours; None if they can.

    These colours are IPT-PQ-C2 with curves that change from picture to picture (profile 5, 10.0 and 20.0). FFmpeg
    decodes them as Y'CbCr: purple and green. Other profiles contain a picture for other displays.
    """
    if dolby_vision is None:
        is_dolby_alone = codec_tag in _DOLBY_TAGS
        found = f"Dolby Vision by its tag {codec_tag}, without a configuration record"
    else:
        profile, compatibility = dolby_vision.profile, dolby_vision.compatibility_id
        is_dolby_alone = profile in _PROFILES_OF_ONE_LAYER and (profile == 5 or compatibility == 0)
        found = f"Dolby Vision profile {profile}" if profile == 5 else f"Dolby Vision profile {profile}.0"
    return f"{found}: its colours (IPT-PQ-C2) have no conversion to RGB" if is_dolby_alone else None


def codec_tag_of(stream: VideoStream) -> str:
    """The four characters by which the container names the codec, in Latin-1; empty where PyAV cannot read them."""
    try:
        return stream.codec_context.codec_tag
    except UnicodeDecodeError:
        return ""
