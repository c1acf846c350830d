"""What tests of repairs have in common: kinds of caches, harm, and the command."""

from cache_builder.cli import cache_verify
from tests.support.caches.tree import (
    FIRST_MANIFEST,
)
from tests.support.commands import run

KINDS = {
    "wds-jpeg": ("--encoding", "jpeg", "--frames-per-shard", "30"),
    "wds-raw": ("--encoding", "raw", "--layout", "video", "--frames-per-shard", "video"),
    "zarr-zstd": ("--format", "zarr", "--frames-per-shard", "30"),
    "zarr-raw": ("--format", "zarr", "--encoding", "raw", "--stride", "2", "--frames-per-shard", "100"),
    "zarr-video": ("--format", "zarr", "--layout", "video", "--fps", "6", "--frames-per-shard", "4"),
}


STATE_THE_HASHES = (FIRST_MANIFEST, "generation.json")
"""Files that no other file is enough to make again."""


def repaired(cache, videos=None):
    return run(cache, "--repair", *(["--videos", videos] if videos else []), command=cache_verify)


def flip(path, position=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if position is None else position] ^= 4
    path.write_bytes(content)
