"""Where shards are gathered from, and where they go: folders, or folders of an object store."""

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from cache_builder.jobs.records import RecordPlace
from cache_builder.jobs.spill import SpillPlace
from frame_store.remote import ObjectClient, RemoteUrl, RetryPolicy

PLAN_FILES: Final = ("sources.npy", "source_of_frame.npy", "names.json")
PLAN_DIGEST_NAME: Final = "sha256"


class PlanNames(msgspec.Struct, frozen=True, kw_only=True):
    """`plan/names.json`: the names that the numbers in `sources.npy` stand for."""

    videos: list[str]
    units: list[str]


class ShardObjects(msgspec.Struct, frozen=True, kw_only=True):
    """Where shards go that are put into an object store."""

    cache: ObjectClient
    """The whole cache."""
    inside: str
    """The folder of the camera, with a slash behind it; empty without cameras."""
    records: RecordPlace
    """Of finished shards."""
    plans: ObjectClient | None
    """Plans by their digest, for jobs that do not see the folder; None where all jobs do."""
    work: Path
    """Where a shard is written before it is put; a job on another machine takes its temporary folder."""
    plan_digest: str = ""
    """SHA-256 of the plan, in hex. Records belong to it."""


class GatherPlaces(msgspec.Struct, frozen=True, kw_only=True):
    """The folders from which shards are gathered, and into which."""

    spill: SpillPlace
    """Encoded frames of decoded units."""
    plan: Path
    receipts: Path
    """Of finished shards."""
    work: Path
    """Where shards are written before they get their names, on the file system of `cache`."""
    cache: Path
    """Where the generation lies; of shards that are objects, all of it but the shards."""
    objects: ShardObjects | None = None
    """Where the shards go; None: into `cache`."""


def plan_at_hand(places: GatherPlaces) -> Path:
    """The folder with the plan: that of the build, or on another machine a copy that this process downloads once.

    Raises:
        OSError: disk full or failing.
        ObjectStoreError: the store cannot be reached.
    """
    objects = places.objects
    if objects is None or objects.plans is None:
        return places.plan
    digest = places.plan / PLAN_DIGEST_NAME
    if digest.is_file() and digest.read_text() == objects.plan_digest:
        return places.plan
    return Path(_downloaded(objects.plans.url, objects.plans.policy, objects.plan_digest).name)


@lru_cache(maxsize=1)
def _downloaded(url: RemoteUrl, policy: RetryPolicy, digest: str) -> "tempfile.TemporaryDirectory[str]":
    folder = tempfile.TemporaryDirectory(prefix="frame-cache-plan-")
    client = ObjectClient(url, policy=policy)
    for name in PLAN_FILES:
        download(client, f"{digest}/{name}", Path(folder.name, name))
    return folder


def download(client: ObjectClient, key: str, path: Path) -> None:
    """Write an object into a file, part by part.

    Raises:
        OSError: disk full or failing.
        ObjectStoreError: the store cannot be reached.
    """
    found = client.head(key)
    with path.open("wb") as file:
        for start in range(0, found.num_bytes, _PART_BYTES):
            num_bytes = min(_PART_BYTES, found.num_bytes - start)
            file.write(client.get_range(key, start, num_bytes, e_tag=found.e_tag))


_PART_BYTES: Final = 1 << 23
