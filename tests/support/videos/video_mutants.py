"""Broken variants of video files. Mutant number n of a seed has the same bytes for the same samples, always."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.videos.tiny_videos import TinyFolder

Random = np.random.Generator

_MP4_PARENTS = frozenset(
    {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"udta", b"mvex", b"moof", b"traf"}
)
_EBML_PARENTS = frozenset(
    bytes.fromhex(number)
    for number in (
        *("1a45dfa3", "18538067", "114d9b74", "1549a966", "1654ae6b", "ae", "e0", "1f43b675", "a0"),
        *("1c53bb6b", "bb", "b7"),
    )
)
_EXTREMES = (0, 1, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclass(frozen=True, kw_only=True)
class VideoMutant:
    """A changed sample."""

    name: str
    """File name: the number, the mutation, the sample."""
    kind: str
    """Name of the mutation, `several` for more than one."""
    content: bytes


@dataclass(frozen=True, kw_only=True)
class SizeField:
    """A field of a file with the length of one of its parts."""

    position: int
    num_bytes: int
    is_big_endian: bool = True
    kept_bits: int = 0
    """Bits of the first byte that give the length of the field."""


def make_mutant(samples: Sequence[tuple[str, bytes]], *, seed: int, number: int) -> VideoMutant:
    """Mutant `number` of the (name, content) `samples`. Samples and kinds of mutation alternate."""
    random = np.random.default_rng([seed, number])
    name, content = samples[number % len(samples)]
    kinds = [*MUTATIONS, "several"]
    # Each kind meets each sample: after all samples the kinds shift by one.
    kind = kinds[(number + number // len(samples)) % len(kinds)]
    doing = [kind] if kind != "several" else random.choice(list(MUTATIONS), random.integers(2, 5)).tolist()
    for each in doing:
        other = samples[random.integers(len(samples))][1]
        content = MUTATIONS[each](content, other, random)
    return VideoMutant(name=f"{number:06d}_{kind}_{name}", kind=kind, content=content)


def read_samples(folder: TinyFolder) -> list[tuple[str, bytes]]:
    """(file name, content) of each video of a folder."""
    return [(spec.path.name, Path(spec.path).read_bytes()) for spec in folder.specs]


def _stretch(content: bytes, random: Random, *, longest: float = 0.3) -> tuple[int, int]:
    """A random stretch; short and long ones are equally likely."""
    num_bytes = int(np.exp(random.uniform(0, np.log(max(2, len(content) * longest)))))
    first = int(random.integers(max(1, len(content) - num_bytes)))
    return first, first + num_bytes


def _flip_bits(content: bytes, other: bytes, random: Random) -> bytes:
    changed = np.frombuffer(content, np.uint8).copy()
    places = random.integers(len(changed), size=int(np.exp(random.uniform(0, np.log(200)))))
    changed[places] ^= (1 << random.integers(8, size=len(places))).astype(np.uint8)
    return changed.tobytes()


def _flip_bits_of_headers(content: bytes, other: bytes, random: Random) -> bytes:
    """Bits at both ends of a file, where containers keep their headers and indexes."""
    at_end = min(len(content), 1500)
    part = slice(0, at_end) if random.random() < 0.5 else slice(len(content) - at_end, len(content))
    return content[: part.start] + _flip_bits(content[part], other, random) + content[part.stop :]


def _overwrite(content: bytes, other: bytes, random: Random) -> bytes:
    first, end = _stretch(content, random, longest=0.1)
    return content[:first] + random.bytes(end - first) + content[end:]


def _truncate(content: bytes, other: bytes, random: Random) -> bytes:
    return content[: int(random.integers(len(content)))]


def _behead(content: bytes, other: bytes, random: Random) -> bytes:
    return content[int(random.integers(len(content))) :]


def _splice(content: bytes, other: bytes, random: Random) -> bytes:
    """The beginning of one file and the end of another; one time in three both are cut at the same fraction."""
    cut = random.random()
    other_cut = cut if random.random() < 1 / 3 else random.random()
    return content[: int(len(content) * cut)] + other[int(len(other) * other_cut) :]


def _zero(content: bytes, other: bytes, random: Random) -> bytes:
    first, end = _stretch(content, random)
    return content[:first] + bytes(end - first) + content[end:]


def _duplicate(content: bytes, other: bytes, random: Random) -> bytes:
    first, end = _stretch(content, random)
    return content[:end] + content[first:]


def _remove(content: bytes, other: bytes, random: Random) -> bytes:
    first, end = _stretch(content, random)
    return content[:first] + content[end:]


def _swap(content: bytes, other: bytes, random: Random) -> bytes:
    """Two neighbouring stretches exchange places."""
    first, end = _stretch(content, random)
    middle = int(random.integers(first, end + 1))
    return content[:first] + content[middle:end] + content[first:middle] + content[end:]


def _set_extremes(content: bytes, other: bytes, random: Random) -> bytes:
    """Fields of 4 bytes near either end become numbers that programs seldom expect."""
    changed = bytearray(content)
    for _ in range(random.integers(1, 6)):
        near = int(random.integers(min(len(content), 1500)))
        position = near if random.random() < 0.5 else len(content) - near
        num_bytes = int(random.choice([1, 2, 4]))
        value = int(random.choice(_EXTREMES)) % 256**num_bytes
        changed[position : position + num_bytes] = value.to_bytes(num_bytes, "big")
    return bytes(changed)


def _change_sizes(content: bytes, other: bytes, random: Random) -> bytes:
    """Lengths of boxes, elements, chunks, tags or packets."""
    fields = list(size_fields(content))
    if not fields:
        return _set_extremes(content, other, random)
    changed = bytearray(content)
    for place in random.integers(len(fields), size=random.integers(1, 4)):
        field = fields[place]
        order = "big" if field.is_big_endian else "little"
        old = changed[field.position : field.position + field.num_bytes]
        top = 256**field.num_bytes - 1
        near = int.from_bytes(old, order) + int(random.integers(-20, 21))
        new = int(random.choice([0, 1, 8, top, top // 2, top // 7, -1, -1, -1]))
        written = bytearray((near if new < 0 else new).to_bytes(12, order, signed=True))
        written = written[-field.num_bytes :] if field.is_big_endian else written[: field.num_bytes]
        written[0] = written[0] & ~field.kept_bits & 0xFF | old[0] & field.kept_bits
        changed[field.position : field.position + field.num_bytes] = written
    return bytes(changed)


MUTATIONS: dict[str, Callable[[bytes, bytes, Random], bytes]] = {
    "bits": _flip_bits,
    "header bits": _flip_bits_of_headers,
    "bytes": _overwrite,
    "truncated": _truncate,
    "beheaded": _behead,
    "spliced": _splice,
    "sizes": _change_sizes,
    "extremes": _set_extremes,
    "zeroed": _zero,
    "duplicated": _duplicate,
    "removed": _remove,
    "swapped": _swap,
}


def size_fields(content: bytes) -> Iterator[SizeField]:
    """The fields of a file that contain lengths, in the containers of the samples."""
    if content[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"free"}:
        return _mp4_sizes(content, 0, len(content))
    if content[:4] == b"\x1a\x45\xdf\xa3":
        return _ebml_sizes(content, 0, len(content))
    if content[:4] == b"RIFF":
        return _riff_sizes(content, 0, len(content))
    if content[:3] == b"FLV":
        return _flv_sizes(content)
    if content[:1] == b"\x47" and content[188:189] == b"\x47":
        return (SizeField(position=p + 4, num_bytes=1) for p in range(0, len(content) - 188, 188))
    return _start_code_sizes(content)


def _mp4_sizes(content: bytes, first: int, end: int) -> Iterator[SizeField]:
    while first + 8 <= end:
        yield SizeField(position=first, num_bytes=4)
        size = int.from_bytes(content[first : first + 4], "big")
        kind = content[first + 4 : first + 8]
        if size < 8 or first + size > end:
            return
        if kind in _MP4_PARENTS:
            yield from _mp4_sizes(content, first + 8, first + size)
        elif kind in {b"stsd", b"stts", b"ctts", b"stsc", b"stsz", b"stco", b"stss", b"elst"}:
            yield SizeField(position=first + 12, num_bytes=4)  # number of entries
        first += size


def _ebml_sizes(content: bytes, first: int, end: int) -> Iterator[SizeField]:
    while first < end:
        id_bytes = 9 - content[first].bit_length()
        at = first + id_bytes
        if id_bytes > 4 or at >= end:
            return
        num_bytes = 9 - content[at].bit_length()
        if num_bytes > 8:
            return
        marker = 1 << (8 - num_bytes)
        yield SizeField(position=at, num_bytes=num_bytes, kept_bits=0x100 - marker)
        size = int.from_bytes(content[at : at + num_bytes], "big") - (marker << 8 * (num_bytes - 1))
        body = at + num_bytes
        if content[first:at] in _EBML_PARENTS:
            yield from _ebml_sizes(content, body, min(end, body + size))
        first = body + size


def _riff_sizes(content: bytes, first: int, end: int) -> Iterator[SizeField]:
    while first + 8 <= end:
        yield SizeField(position=first + 4, num_bytes=4, is_big_endian=False)
        size = int.from_bytes(content[first + 4 : first + 8], "little")
        if content[first : first + 4] in {b"RIFF", b"LIST"}:
            yield from _riff_sizes(content, first + 12, min(end, first + 8 + size))
        first += 8 + size + size % 2


def _flv_sizes(content: bytes) -> Iterator[SizeField]:
    first = 13
    while first + 11 <= len(content):
        yield SizeField(position=first + 1, num_bytes=3)
        first += 15 + int.from_bytes(content[first + 1 : first + 4], "big")


def _start_code_sizes(content: bytes) -> Iterator[SizeField]:
    """The two bytes after each start code and its kind: lengths in program streams, headers in bare streams."""
    first = content.find(b"\0\0\1")
    while 0 <= first < len(content) - 6:
        yield SizeField(position=first + 4, num_bytes=2)
        first = content.find(b"\0\0\1", first + 3)
