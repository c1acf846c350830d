"""Whether a video stream is encrypted, as FFmpeg tells: its decoders only say that the data are invalid."""

import re
import struct
from typing import TYPE_CHECKING, Final

from av.container import InputContainer
from av.video.stream import VideoStream

from cache_builder.video.ffmpeg_log import dump_container

if TYPE_CHECKING:
    from cache_builder.video.open_video import VideoPacket

_TAGS: Final = {"encv": "Common Encryption", "drmi": "FairPlay"}
"""Sample entries that stand in the place of an encrypted stream's own."""

_HEADER: Final = struct.Struct(">4s5I")
"""AVEncryptionInfo as side data (libavutil/encryption_info.c).

Its scheme, blocks encrypted and left clear, sizes of the key's id and of the first block, number of subsamples.
"""


def why_encrypted(stream: VideoStream) -> str | None:
    """Why the whole stream is encrypted, as its header has it, or None."""
    # Matroska's demuxer has no other place for a track's ContentEncKeyID.
    return "it is encrypted (Matroska ContentEncryption)" if "enc_key_id" in stream.metadata else None


def why_packet_encrypted(packet: "VideoPacket", ordinal: int) -> str | None:
    """Why a packet is encrypted, or None."""
    if not packet.has_sidedata("encryption_info"):
        return None
    info = bytes(packet.get_sidedata("encryption_info"))
    if len(info) < _HEADER.size:
        return None
    scheme, _, _, key_id_size, iv_size, num_subsamples = _HEADER.unpack_from(info)
    # Pairs of bytes: in the clear, encrypted. Without any, all of the packet is encrypted.
    subsamples = info[_HEADER.size + key_id_size + iv_size :][: 8 * num_subsamples]
    if num_subsamples and not any(encrypted for _, encrypted in struct.iter_unpack(">2I", subsamples)):
        return None
    begins = f" from packet {ordinal} on" if ordinal else ""
    return f"it is encrypted{begins} (Common Encryption, scheme {scheme.decode('latin-1')!r})"


def why_no_decoder(container: InputContainer, stream: VideoStream) -> str:
    """Why there is no decoder for a stream: its codec is hidden, or unknown here."""
    # PyAV names the tag of no stream without a decoder.
    line = re.search(rf"^  Stream #0:{stream.index}\b.*$", dump_container(container), re.MULTILINE)
    for tag, scheme in _TAGS.items():
        if line is not None and f"({tag} / " in line[0]:
            return f"it is encrypted ({scheme}, {tag})"
    return "its codec has no decoder in this build of FFmpeg"
