"""Whether a video stream is encrypted. FFmpeg's decoders report such data as invalid, without the reason."""

import re
import struct
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from cache_builder.video.ffmpeg_log import dump_container
from cache_builder.video.packets import PacketTable, VideoPacket

_TAGS: Final = {"encv": "Common Encryption", "drmi": "FairPlay"}
"""Sample entries of encrypted streams. They replace the entry of the stream's codec."""

_HEADER: Final = struct.Struct(">4s5I")
"""AVEncryptionInfo as side data (libavutil/encryption_info.c).

Fields: scheme, blocks encrypted and left clear, sizes of the key's id and of the first block, number of subsamples.
"""

_TS_BYTES_LOOKED_AT: Final = 1 << 22
_TS_PACKETS: Final = ((188, 0), (192, 4), (204, 0))
"""Bytes of a transport stream's packet, and bytes before the packet's header: plain; on Blu-ray discs and in
camcorders; with error correction."""
_TS_BYTES_TO_ALIGN: Final = 188 * 204 * 192 // 16
_TS_PACKETS_AT_ONCE: Final = 8192
_TS_SYNC: Final = 0x47
_TS_SCRAMBLED: Final = 0x80
"""Bit of the fourth byte: `transport_scrambling_control` is 2 or 3 (ISO/IEC 13818-1, 2.4.3.3; ETSI ETR 289)."""


def why_encrypted(stream: VideoStream) -> str | None:
    """How the whole stream is encrypted, by its header; None if the header does not state encryption."""
    # Matroska's demuxer has no other place for a track's ContentEncKeyID.
    return "it is encrypted (Matroska ContentEncryption)" if "enc_key_id" in stream.metadata else None


def why_packet_encrypted(packet: VideoPacket, ordinal: int) -> str | None:
    """How a packet is encrypted, or None."""
    if not packet.has_sidedata("encryption_info"):
        return None
    info = bytes(packet.get_sidedata("encryption_info"))
    if len(info) < _HEADER.size:
        return None
    scheme, _, _, key_id_size, iv_size, num_subsamples = _HEADER.unpack_from(info)
    # Pairs: bytes in the clear, bytes encrypted. Without any pair the whole packet is encrypted.
    subsamples = info[_HEADER.size + key_id_size + iv_size :][: 8 * num_subsamples]
    if num_subsamples and not any(encrypted for _, encrypted in struct.iter_unpack(">2I", subsamples)):
        return None
    begins = f" from packet {ordinal} on" if ordinal else ""
    return f"it is encrypted{begins} (Common Encryption, scheme {scheme.decode('latin-1')!r})"


def why_scrambled(path: Path) -> str | None:
    """How a transport stream is encrypted, if most of its first packets are; else None, as for any other file.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(_TS_BYTES_LOOKED_AT)
    for num_bytes, offset in _TS_PACKETS:
        num_packets = len(content) // num_bytes
        packets = np.frombuffer(content, np.uint8, num_packets * num_bytes).reshape(num_packets, num_bytes)
        is_scrambled = packets[:, offset + 3] & _TS_SCRAMBLED != 0
        if num_packets and (packets[:, offset] == _TS_SYNC).all() and 2 * is_scrambled.sum() > num_packets:
            return (
                f"it is encrypted (transport stream: {is_scrambled.sum():,} of its first {num_packets:,} packets "
                "are scrambled)"
            )
    return None


class ScrambledPart(msgspec.Struct, frozen=True, kw_only=True):
    """Scrambled packets of the video in a transport stream. FFmpeg passes over them without a message."""

    num_transport_packets: int
    byte_offset: int
    """Where the first of them begins."""
    packet_before: int
    """Ordinal of the last packet of the video that begins before `byte_offset`; 0 where there is none."""

    @property
    def text(self) -> str:
        """For reports."""
        return (
            f"{self.num_transport_packets:,} of its transport packets are encrypted, the first at byte "
            f"{self.byte_offset:,}: what they hold cannot be read"
        )


def find_scrambled_part(path: Path, *, pid: int, packets: PacketTable) -> ScrambledPart | None:
    """The scrambled packets of stream `pid` in a transport stream; None where no packet is scrambled.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = np.frombuffer(file.read(_TS_BYTES_TO_ALIGN), np.uint8)
        for num_bytes, offset in _TS_PACKETS:
            if len(head) >= num_bytes and (head[offset::num_bytes] == _TS_SYNC).all():
                break
        else:
            return None
        file.seek(0)
        num_scrambled, first = 0, 0
        position = 0
        while content := file.read(num_bytes * _TS_PACKETS_AT_ONCE):
            num = len(content) // num_bytes
            rows = np.frombuffer(content, np.uint8, num * num_bytes).reshape(num, num_bytes)[:, offset:]
            is_pid = ((rows[:, 1] & 0x1F).astype(np.int64) << 8 | rows[:, 2]) == pid
            is_scrambled = (rows[:, 0] == _TS_SYNC) & is_pid & (rows[:, 3] & _TS_SCRAMBLED != 0)
            if is_scrambled.any() and not num_scrambled:
                first = position + int(is_scrambled.argmax()) * num_bytes
            num_scrambled += int(is_scrambled.sum())
            position += len(content)
    if not num_scrambled:
        return None
    before = np.flatnonzero((packets.pos >= 0) & (packets.pos < first))
    return ScrambledPart(
        num_transport_packets=num_scrambled,
        byte_offset=first,
        packet_before=int(before[-1]) if len(before) else 0,
    )


def why_no_decoder(container: InputContainer, stream: VideoStream) -> str:
    """Why there is no decoder for a stream: its codec is hidden, or this build of FFmpeg does not know it."""
    # For a stream without a decoder PyAV gives no tag.
    line = re.search(rf"^  Stream #0:{stream.index}\b.*$", dump_container(container), re.MULTILINE)
    for tag, scheme in _TAGS.items():
        if line is not None and f"({tag} / " in line[0]:
            return f"it is encrypted ({scheme}, {tag})"
    return "its codec has no decoder in this build of FFmpeg"
