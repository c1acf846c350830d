"""`fetch_cache`: copy a cache from an object store, verified, and again only what is new."""

import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cache_builder.errors import ConfigError, MachineError, OutputError
from cache_builder.fetching.report import FetchReport
from cache_builder.fetching.staging import Staging, has_content
from cache_builder.progress import NoProgress, Progress
from cache_builder.stages import Workspace, resolved
from frame_store.errors import StoreDamagedError, StoreNotFoundError
from frame_store.files import read_inside
from frame_store.manifest import (
    MAX_MANIFEST_BYTES,
    CacheManifest,
    FileEntry,
    decode_manifest,
    read_manifest,
)
from frame_store.names import COLUMNS_NAME, GENERATION_NAME, manifest_name
from frame_store.remote import ObjectClient, RemoteUrl, WantedObject, download_objects
from frame_store.remote_files import FilesOfFolder, all_manifests, files_of_cache
from frame_store.shared import counted, counted_in_groups, listed, whole_number

DEFAULT_JOBS: Final = 16
_TRIES: Final = 2


@dataclass(frozen=True, kw_only=True)
class _Plan:
    folders: list[FilesOfFolder]
    wanted: list[WantedObject]
    num_bytes_staged: int
    """Of files that an interrupted fetch has downloaded whole."""
    num_bytes_of_parts: int
    """Of files that it has begun."""

    @property
    def num_bytes_wanted(self) -> int:
        return sum(each.num_bytes for each in self.wanted)


def fetch_cache(
    url: str | RemoteUrl,
    directory: Path | str,
    *,
    jobs: int = DEFAULT_JOBS,
    progress: Progress | None = None,
) -> FetchReport:
    """Copy the cache at `url` to `directory`, which is a cache only when it is whole.

    Every file is held to its recorded size and SHA-256 while it is downloaded. After an interruption the same call goes
    on: whole files stay, begun ones go on where they ended. Where `directory` has an earlier version of the cache, what
    is new is added, and nothing is removed. Folders that only earlier versions name are not copied.

    Args:
        url: of the folder of the cache: s3, gs, az, http or https.
        directory: a folder that is not there yet, is empty, or has this cache.
        jobs: the most requests at once. Memory is at most some 8 MiB for each.
        progress: receives the progress in bytes; None for silence.

    Returns:
        What was done.

    Raises:
        ConfigError: `url` is no such URL, or `jobs` is no number of 1 or more.
        OutputError: `directory` holds something else or a newer version, another process writes it, or it cannot be
            written.
        StoreNotFoundError: no cache is at `url`.
        StoreFormatError: a manifest or a record of the cache is wrong.
        StoreDamagedError: objects are missing, or are not what the cache records, also when they are downloaded again.
            The others are kept.
        ObjectStoreError: the store cannot be reached, or refuses the credentials. The same call goes on.
        MachineError: the disk has too little room; nothing was downloaded.
        OSError: the disk fails, or is full.
    """
    began = time.monotonic()
    jobs = whole_number("jobs", jobs, least=1, error=ConfigError)
    try:
        client = ObjectClient(RemoteUrl.of(url))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    progress = NoProgress() if progress is None else progress
    output = resolved(Path(directory))
    workspace = Workspace(output)
    manifests, manifest = _manifests(client)
    with workspace.locked(if_not_writable="give another DIR"):
        num_there = _num_manifests_there(output, manifests, client.url)
        staging = Staging(output)
        staging.claim(manifests[0])
        plan = _plan(client, manifest, staging)
        is_complete = not plan.wanted and not plan.num_bytes_staged and num_there == len(manifests)
        if not is_complete:
            _require_room(plan, output)
            _download(client, plan, jobs=jobs, progress=progress)
            if num_there:
                staging.publish_more(plan.folders, manifests, num_there=num_there)
            else:
                staging.publish_new(plan.folders, manifests)
        staging.remove()
    sizes = [entry.num_bytes for folder in plan.folders for entry in folder.all_files]
    sizes += [(output / folder.record).stat().st_size for folder in plan.folders if folder.record is not None]
    sizes += map(len, manifests)
    return FetchReport(
        source=client.url.text,
        output=str(directory),
        status="already complete" if is_complete else "fetched",
        version=manifest.version,
        num_files=len(sizes),
        num_bytes=sum(sizes),
        num_files_fetched=len(plan.wanted),
        num_bytes_fetched=plan.num_bytes_wanted - plan.num_bytes_of_parts,
        num_bytes_taken_over=plan.num_bytes_staged + plan.num_bytes_of_parts,
        seconds=time.monotonic() - began,
    )


def _manifests(client: ObjectClient) -> tuple[list[bytes], CacheManifest]:
    """The bytes of all versions, checked, and the newest one."""
    raws = all_manifests(client)
    decoded = [
        decode_manifest(raw, version=version, name=client.url.object_text(manifest_name(version)))
        for version, raw in enumerate(raws)
    ]
    return raws, decoded[-1]


def _num_manifests_there(output: Path, manifests: Sequence[bytes], url: RemoteUrl) -> int:
    """How many of the manifests the output has; 0 where it is to be made.

    Raises:
        OutputError: something else is there.
    """
    if not os.path.lexists(output):
        return 0
    if not output.is_dir():
        raise OutputError(f"{output}: is a file; give another DIR")
    if not any(output.iterdir()):
        return 0
    try:
        num_there = read_manifest(output).version + 1
    except StoreNotFoundError as error:
        raise OutputError(
            f"{output}: is there, and is no cache; give another DIR, or an empty one"
        ) from error
    for version, expected in enumerate(manifests[:num_there]):
        name = manifest_name(version)
        if read_inside(output, name, max_bytes=MAX_MANIFEST_BYTES) != expected:
            raise OutputError(
                f"{output}: is another cache than {url.text}: {name} differs; nothing was changed: give another DIR"
            )
    if num_there > len(manifests):
        raise OutputError(
            f"{output}: is newer than {url.text}: it has {manifest_name(num_there - 1)}, the other ends with "
            f"{manifest_name(len(manifests) - 1)}; there is nothing to fetch"
        )
    return num_there


def _plan(client: ObjectClient, manifest: CacheManifest, staging: Staging) -> _Plan:
    cameras = [(f"{camera.folder}/", camera.generations) for camera in manifest.cameras]
    records: list[tuple[str, str | None, str]] = [
        (entry.folder, f"{entry.folder}/{COLUMNS_NAME}", entry.digest) for entry in manifest.columns
    ]
    for inside, generations in cameras or [("", manifest.generations)]:
        records += [
            (inside + entry.folder, f"{inside}{entry.folder}/{GENERATION_NAME}", entry.digest)
            for entry in generations
        ]
    staging.take_records(records)
    folders = list(files_of_cache(client, manifest, records=staging.cache))
    wanted: list[WantedObject] = []
    num_bytes_staged = num_bytes_of_parts = 0
    for folder in folders:
        is_there = folder.record is None or has_content(staging.output / folder.record, folder.digest)
        for entry in folder.all_files:
            if is_there and _has_size(staging.output / entry.name, entry):
                continue
            path = staging.cache / entry.name
            if _has_size(path, entry):
                num_bytes_staged += entry.num_bytes
                continue
            wanted.append(
                WantedObject(key=entry.name, path=path, num_bytes=entry.num_bytes, sha256=entry.sha256)
            )
            num_bytes_of_parts += min(
                _num_bytes_of(path.with_name(f"{path.name}.part")) or 0, entry.num_bytes
            )
    return _Plan(
        folders=folders,
        wanted=wanted,
        num_bytes_staged=num_bytes_staged,
        num_bytes_of_parts=num_bytes_of_parts,
    )


def _has_size(path: Path, entry: FileEntry) -> bool:
    """Whether a file is there, whole: it has its name only since its hash was the recorded one."""
    return _num_bytes_of(path) == entry.num_bytes


def _num_bytes_of(path: Path) -> int | None:
    try:
        return path.stat(follow_symlinks=False).st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def _require_room(plan: _Plan, output: Path) -> None:
    needed = plan.num_bytes_wanted - plan.num_bytes_of_parts
    free = shutil.disk_usage(output.parent).free
    if needed > free:
        raise MachineError(
            f"{output}: {counted_in_groups(needed, 'byte')} are still to be downloaded, and its disk has "
            f"{counted_in_groups(free, 'byte')} free; nothing was downloaded: make room, or give a DIR on another disk"
        )


def _download(client: ObjectClient, plan: _Plan, *, jobs: int, progress: Progress) -> None:
    """Download what is missing.

    Raises:
        StoreDamagedError: objects are missing or wrong, also in a second download.
    """
    progress.start("fetch", plan.num_bytes_staged + plan.num_bytes_wanted, "bytes")
    progress.advance(plan.num_bytes_staged)
    wanted: Iterable[WantedObject] = plan.wanted
    problems: dict[str, str] = {}
    for attempt in range(_TRIES):
        failed = []
        for done in download_objects(
            client, wanted, jobs=jobs, received=(lambda _: None) if attempt else progress.advance
        ):
            if done.problem is not None:
                failed.append(done.wanted)
                problems[done.wanted.key] = done.problem
        wanted = failed
    if wanted:
        raise StoreDamagedError(
            listed(
                f"{client.url.text}: {counted(len(failed), 'object')} of the cache, downloaded twice, cannot be used",
                [f"{client.url.object_text(each.key)}: {problems[each.key]}" for each in failed],
                "the others are kept: mend the cache there, and give the same command again",
            )
        )
