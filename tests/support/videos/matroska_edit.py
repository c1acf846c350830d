"""Adds elements to a Matroska file (RFC 9559) that no muxer available to Python writes."""

import io

import av
import numpy as np

SEGMENT, TRACKS, TRACK_ENTRY, VIDEO = b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae", b"\xe0"
PIXEL_CROP_BOTTOM, PIXEL_CROP_TOP, PIXEL_CROP_LEFT, PIXEL_CROP_RIGHT = (
    b"\x54\xaa",
    b"\x54\xbb",
    b"\x54\xcc",
    b"\x54\xdd",
)
CONTENT_ENCODINGS, CONTENT_ENCODING, CONTENT_ENCODING_TYPE = b"\x6d\x80", b"\x62\x40", b"\x50\x33"
CONTENT_ENCRYPTION, CONTENT_ENC_ALGO, CONTENT_ENC_KEY_ID = b"\x50\x35", b"\x47\xe1", b"\x47\xe2"

CLUSTER, CLUSTER_TIMESTAMP, SIMPLE_BLOCK = b"\x1f\x43\xb6\x75", b"\xe7", b"\xa3"

_UNKNOWN_SIZE = b"\x01" + b"\xff" * 7


def element(kind: bytes, *content: bytes | int) -> bytes:
    """An element; numbers are unsigned and have two bytes."""
    body = b"".join(part.to_bytes(2, "big") if isinstance(part, int) else part for part in content)
    return kind + (len(body) | 1 << 56).to_bytes(8, "big") + body


def add_elements(matroska: bytes, place: tuple[bytes, ...], added: bytes) -> bytes:
    """The file with `added` at the end of the first element that `place` leads to, from the outermost one on.

    Positions written in the file are not brought up to date.
    """
    if not place:
        return matroska + added
    position = 0
    while position < len(matroska):
        id_size = _size_of_number(matroska[position])
        kind, start = matroska[position : position + id_size], position + id_size
        size_size = _size_of_number(matroska[start])
        size = matroska[start : start + size_size]
        body = start + size_size
        value = int.from_bytes(size, "big") - (1 << 7 * size_size)
        is_unknown = value == (1 << 7 * size_size) - 1
        end = len(matroska) if is_unknown else body + value
        if kind == place[0]:
            changed = add_elements(matroska[body:end], place[1:], added)
            outer = kind + _UNKNOWN_SIZE + changed if is_unknown else element(kind, changed)
            return matroska[:position] + outer + matroska[end:]
        position = end
    raise ValueError(f"no element {place[0].hex()} in there")


def matroska_of(pictures: list[np.ndarray]) -> bytes:
    """A file of pictures (H, W, 3), coded losslessly."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska", options={"live": "1"}) as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, _ = pictures[0].shape
        stream.pix_fmt = "bgr0"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=stream.pix_fmt)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def with_clusters_at(matroska: bytes, milliseconds: list[int]) -> bytes:
    """The file with only its first block, in a cluster at each of these times; negative times wrap around."""
    clusters = matroska.index(CLUSTER)
    block = matroska.index(SIMPLE_BLOCK, clusters)
    size_size = _size_of_number(matroska[block + 1])
    size = int.from_bytes(matroska[block + 1 : block + 1 + size_size], "big") - (1 << 7 * size_size)
    content = matroska[block : block + 1 + size_size + size]
    return matroska[:clusters] + b"".join(
        element(CLUSTER, element(CLUSTER_TIMESTAMP, (time % 2**64).to_bytes(8, "big")), content)
        for time in milliseconds
    )


def _size_of_number(first_byte: int) -> int:
    return 9 - first_byte.bit_length()
