"""`generation.json`: what one generation of a cache holds, and the hashes of its files (FORMAT.md section 3.2)."""

import hashlib
from pathlib import Path
from typing import Final

from frame_store.errors import StoreDamagedError, StoreFormatError
from frame_store.files import read_inside
from frame_store.frame_findings import Record
from frame_store.manifest.entries import GenerationEntry
from frame_store.manifest.parts import PartEntry, joined_fingerprint, runs_of
from frame_store.manifest.records import (
    MAX_FRAME_SIDE,
    Encoding,
    Fidelity,
    FileEntry,
    JsonValue,
    Layout,
    ShardEntry,
    check_files,
    check_shards,
    require_sha256,
)
from frame_store.manifest.shard_sizes import FramesPerShard
from frame_store.manifest.signed_json import decode_signed, encode_signed
from frame_store.names import (
    GENERATION_NAME,
    INDEX_NAME,
    NUM_CHANNELS,
    PIXEL_DTYPE,
    VIDEOS_NAME,
    Container,
    PixelDtype,
    PixelName,
    generation_folder,
)
from frame_store.shared import raise_if_out_of_files

MAX_GENERATION_BYTES: Final = 1 << 29
"""512 MiB, enough for some 2,000,000 shards."""


class Generation(Record, frozen=True, kw_only=True):
    """What a reader needs beside `index.npy` and the shards of a generation."""

    container: Container
    frame_shape: tuple[int, int, int]
    """(H, W, C): C is 3 for `rgb8`, 1 for `gray16`."""
    pixel: PixelName
    encoding: Encoding
    layout: Layout
    seed: int
    num_frames: int
    num_videos: int
    """Rows of `videos.jsonl`, also of videos without frames."""
    config: dict[str, JsonValue]
    """The resolved build configuration, informative."""
    library_versions: dict[str, str]
    fidelity: Fidelity | None
    shards: list[ShardEntry]
    files: list[FileEntry]
    """Every other file of the generation except `generation.json` itself."""
    fingerprint: str
    """SHA-256 of the inputs and the configuration; `joined_fingerprint` of `parts` where there are some."""
    parts: list[PartEntry]
    """Empty for a generation as a build made it. Of one that joins others: the built ones, in order, two or more."""

    @property
    def built_parts(self) -> list[PartEntry]:
        """The built generations that it consists of: `parts`, or itself."""
        if self.parts:
            return self.parts
        itself = PartEntry(
            fingerprint=self.fingerprint,
            num_frames=self.num_frames,
            num_videos=self.num_videos,
            shard_sizes=runs_of(shard.num_frames for shard in self.shards),
        )
        return [itself]

    @property
    def frame_dtype(self) -> PixelDtype:
        """Of a pixel's values: uint8 for `rgb8`, little-endian uint16 for `gray16`."""
        return PIXEL_DTYPE[self.pixel]

    def __post_init__(self) -> None:
        """Cross-check the fields (FORMAT.md section 3.4)."""
        height, width, channels = self.frame_shape
        expected = NUM_CHANNELS[self.pixel]
        if not (1 <= height <= MAX_FRAME_SIDE and 1 <= width <= MAX_FRAME_SIDE and channels == expected):
            raise ValueError(
                f"frame_shape must be [H, W, {expected}], found {list(self.frame_shape)}; "
                f"H and W are 1..{MAX_FRAME_SIDE}"
            )
        if self.pixel == "gray16" and self.encoding.name == "jpeg":
            raise ValueError("gray16 is not stored as jpeg, which has 8 bits")
        if (self.container, self.encoding.name) in {("wds", "zstd"), ("zarr", "jpeg")}:
            raise ValueError(f"{self.container} does not take {self.encoding.name}")
        check_shards(self.shards, self.container)
        num_in_shards = sum(shard.num_frames for shard in self.shards)
        if self.num_frames != num_in_shards:
            raise ValueError(f"num_frames is {self.num_frames}, the shards hold {num_in_shards}")
        check_files([*self.shards, *self.files], taken=GENERATION_NAME)
        listed = {entry.name for entry in self.files}
        for name in (INDEX_NAME, VIDEOS_NAME):
            if name not in listed:
                raise ValueError(f"{name} is not among the files")
        require_sha256("fingerprint", self.fingerprint)
        self._check_parts()

    def _check_parts(self) -> None:
        if not self.parts:
            return
        if len(self.parts) < 2:
            raise ValueError("parts lists a single generation: two or more are joined")
        for name in ("num_frames", "num_videos"):
            of_parts, found = sum(getattr(part, name) for part in self.parts), getattr(self, name)
            if of_parts != found:
                raise ValueError(f"{name} is {found}, the parts have {of_parts}")
        if self.fingerprint != joined_fingerprint([part.fingerprint for part in self.parts]):
            raise ValueError("fingerprint is not that of the parts")

    @property
    def frames_per_shard(self) -> FramesPerShard:
        """The setting by which it was cut into shards, out of `config`.

        Raises:
            StoreFormatError: `config` has no such setting.
        """
        found = self.config.get("frames_per_shard")
        if found == "video" or (type(found) is int and found > 0):
            frames_per_shard: FramesPerShard = found
            return frames_per_shard
        raise StoreFormatError(
            f"{GENERATION_NAME}: frames_per_shard of config must be a number or 'video', found {str(found)[:100]!r}"
        )

    def file(self, name: str) -> FileEntry:
        """The entry of one of the `files`."""
        return next(entry for entry in self.files if entry.name == name)

    @property
    def num_bytes(self) -> int:
        """Bytes of all shards and files."""
        return sum(entry.num_bytes for entry in [*self.shards, *self.files])


def encode_generation(generation: Generation) -> bytes:
    """The bytes of `generation.json`. Equal generations give equal bytes."""
    return encode_signed(generation)


def read_generation(store_path: Path, entry: GenerationEntry, *, folder: str | None = None) -> Generation:
    """What the generation `entry` of the cache at `store_path` holds.

    `folder` is the path of the generation inside the cache, where it is not that of `entry`: `camera-00/gen-...`.

    Raises:
        StoreDamagedError: `generation.json` is missing, a link, cannot be read, or has another SHA-256 than in the
            manifest.
        StoreFormatError: a missing, unknown or ill-typed key, or numbers that contradict each other or the manifest.
        OSError: no more files can be opened.
    """
    name = f"{folder or entry.folder}/{GENERATION_NAME}"
    path = store_path / name
    try:
        raw = read_inside(store_path, name, max_bytes=MAX_GENERATION_BYTES)
    except OSError as error:
        raise_if_out_of_files(error)
        raise StoreDamagedError(f"{path}: {error.strerror}; run cache-verify on {store_path}") from error
    except MemoryError as error:
        raise StoreFormatError(f"{path}: takes more memory than the machine has") from error
    if hashlib.sha256(raw).hexdigest() != entry.digest:
        raise StoreDamagedError(
            f"{path}: sha256 differs from the manifest's; run cache-verify on {store_path}"
        )
    generation = decode_signed(raw, Generation, name=str(path))
    _check_against(entry, generation, name=str(path))
    return generation


def _check_against(entry: GenerationEntry, generation: Generation, *, name: str) -> None:
    """Raise StoreFormatError unless a generation is what its entry in the manifest states."""
    found = (generation_folder(generation.fingerprint), generation.num_frames, generation.num_videos)
    expected = (entry.folder, entry.num_frames, entry.num_videos)
    for what, in_generation, in_manifest in zip(
        ("folder", "num_frames", "num_videos"), found, expected, strict=True
    ):
        if in_generation != in_manifest:
            raise StoreFormatError(f"{name}: {what} is {in_generation}, the manifest has {in_manifest}")
