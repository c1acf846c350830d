"""The workspace of an output in an object store: small files in a local work folder, the rest as objects.

```
URL/                     shards as they are finished, then the small files, the manifest last, by one create-only put
URL.building/            unfinished work; see `scratch_objects`. --scratch names another folder
URL.scan                 scan cache           URL.report.json, URL.reports/   reports
WORK/cache/              copy of the tables of the cache that is there
WORK/cache.building/     as that of a local build, without spill and shards
```
WORK is in the folder for temporary files, or in that of `--scratch DIR`, which has spill and records of shards then.
What is in WORK can be lost: with a scratch in an object store the same command goes on, also on another machine.
"""

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from cache_builder.errors import MachineError, OutputError
from cache_builder.jobs import GatherPlaces, ShardObjects, download, newest_version, put_once
from cache_builder.stages.workspace.local import Workspace
from cache_builder.stages.workspace.mirror import mirror_tables
from cache_builder.stages.workspace.own_files import MAX_START_BYTES, REPORT_START, SCAN_CACHE_START
from cache_builder.stages.workspace.scratch_objects import ScratchObjects
from frame_store.errors import ObjectMissingError, StoreError
from frame_store.files import write_file
from frame_store.manifest import CacheManifest, FileEntry, encode_manifest, read_trees
from frame_store.names import (
    camera_folder,
    is_camera_folder,
    is_columns_folder,
    is_content_folder,
    is_generation_folder,
    manifest_name,
    manifest_version,
)
from frame_store.remote import ObjectClient, RemoteUrl
from frame_store.shared import without_controls

_NUM_IN_FLIGHT: Final = 16
_PROBE_NAME: Final = "probe"


class RemoteWorkspace(Workspace):
    """Places around one output in an object store."""

    def __init__(self, url: RemoteUrl, *, scratch: Path | RemoteUrl | None = None) -> None:
        """Touches nothing yet.

        Raises:
            OutputError: a URL cannot be written, or has nothing beside it.
        """
        self.url = url
        try:
            building = url.sibling(".building")
        except ValueError as error:
            raise OutputError(str(error)) from error
        for each in (url, scratch):
            if isinstance(each, RemoteUrl) and not each.is_writable:
                raise OutputError(f"{each.text}: web servers are read-only; give a URL of s3, gs or az")
        of_work = _work_folder(url, scratch if isinstance(scratch, Path) else None)
        super().__init__(of_work / "cache")
        if not isinstance(scratch, Path):
            self.scratch = ScratchObjects(building if scratch is None else scratch)
        self.objects = ObjectClient(url)
        self._beside = ObjectClient(
            RemoteUrl(scheme=url.scheme, root=url.root, path=url.path.rpartition("/")[0])
        )
        self._was_empty = False
        self._sizes: dict[str, int] | None = None
        self._scan_cache_put: bytes | None = None

    @property
    def title(self) -> str:
        """The URL."""
        return self.url.text

    def named(self, text: str) -> str:
        """A message in which the copy of the tables is called by the URL."""
        return re.sub(re.escape(str(self.output)) + r"(?![\w.])", lambda _: self.title, text)

    def require_own_files(self) -> None:
        """Refuse to replace an object that has the name of the report or scan cache, and that no build wrote.

        Also puts and deletes a small object where the cache and the unfinished work go, before any work is done.

        Raises:
            OutputError: there is one.
            ObjectStoreError: a store cannot be reached, or refuses.
        """
        for client in (self.objects, *([] if self.scratch is None else [self.scratch.client])):
            beside = _probes_beside(client)
            name = f"{_PROBE_NAME}-{os.urandom(8).hex()}"
            beside.put(name, b"a build can write here")
            beside.delete([name])
        for ending, start, what in (
            (".report.json", REPORT_START, "report"),
            (".scan", SCAN_CACHE_START, "scan cache"),
        ):
            key = self.url.name + ending
            found = self._beside.find(key)
            if found is None or not found.num_bytes:
                continue
            head = self._beside.get_range(key, 0, min(found.num_bytes, MAX_START_BYTES))
            if start.match(head) is None:
                raise OutputError(
                    f"{self._beside.url.object_text(key)}: is not the {what} of a build, which would be written there; "
                    "move it away, or give another {--out}"
                )

    @contextmanager
    def locked(self, *, if_not_writable: str) -> Iterator[None]:
        """Lock the work folder: of this machine one process builds at a time. Other machines are not locked out."""
        with super().locked(if_not_writable=if_not_writable):
            self._fetch(".scan", self.scan_cache)
            self._fetch(".report.json", self.report)
            if self.scan_cache.exists():
                self._scan_cache_put = self.scan_cache.read_bytes()
            try:
                yield
            except BaseException:
                if self.scratch is not None:
                    self._remove_work_folder()
                raise
            self._remove_work_folder()

    def _remove_work_folder(self) -> None:
        """Remove the work folder, the lock last: nothing there is needed again."""
        for path in self.output.parent.iterdir():
            if path != self.lock:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        self.lock.unlink(missing_ok=True)
        with suppress(OSError):  # another build of this URL begins
            self.output.parent.rmdir()

    def is_there(self) -> bool:
        """Whether a cache is at the URL; its tables are copied then.

        Raises:
            OutputError: other objects are there.
        """
        if mirror_tables(self.objects, self.output):
            return True
        for each in self.objects.objects():
            if not _is_of_a_cache(each.key):
                raise OutputError(
                    f"{self.title}: holds {without_controls(each.key)!r}, which is of no cache; give another {{--out}}"
                )
        self._was_empty = True
        return False

    def has_size(self, file: FileEntry) -> bool:
        """Whether an object of the cache is there with the recorded size; one list answers for all."""
        if self._sizes is None:
            self._sizes = {each.key: each.num_bytes for each in self.objects.objects()}
        return self._sizes.get(file.name) == file.num_bytes

    def refresh(self) -> None:
        """Copy what other processes have written since."""
        mirror_tables(self.objects, self.output)

    def unfinished(self) -> dict[str, Any] | None:
        """See `Workspace.unfinished`."""
        return super().unfinished() if self.scratch is None else self.scratch.identity()

    def claim(
        self, identity: dict[str, Any], *, overwrite: bool, to_discard: str = "discard it with {--overwrite}"
    ) -> None:
        """See `Workspace.claim`. What the work folder has does not count where the scratch is in a store."""
        if self.scratch is not None:
            self.scratch.claim(identity, overwrite=overwrite, to_discard=to_discard)
            overwrite = True
        self._claim_folders(identity, overwrite=overwrite, to_discard=to_discard)

    @property
    def node_tokens(self) -> list[Path]:
        """With a scratch in a store no folder need be seen by other nodes."""
        return super().node_tokens if self.scratch is None else []

    @property
    def node_stores(self) -> list[ObjectClient]:
        """See `Workspace.node_stores`."""
        return [*super().node_stores, _probes_beside(self.objects)]

    @property
    def disk_needs(self) -> list[tuple[Path, int]]:
        """Only spill lies on a disk, and only with `--scratch DIR`."""
        return [] if self.scratch is not None else [(self.building, 1)]

    @property
    def places(self) -> GatherPlaces:
        """The places of a cache without cameras."""
        return self._with_objects(super().places, inside="")

    def places_of_camera(self, number: int) -> GatherPlaces:
        """The places of a camera, whose folders exist from now on."""
        return self._with_objects(super().places_of_camera(number), inside=f"{camera_folder(number)}/")

    def _with_objects(self, places: GatherPlaces, *, inside: str) -> GatherPlaces:
        objects = ShardObjects(
            cache=self.objects,
            inside=inside,
            records=self.receipts if self.scratch is None else self.scratch.records,
            plans=None if self.scratch is None else self.scratch.plans.child(inside),
            work=self.work,
        )
        return msgspec.structs.replace(places, objects=objects)

    def put_scan_cache(self) -> None:
        """See `Workspace.put_scan_cache`; put only where it has changed."""
        if not self.scan_cache.exists():
            return
        content = self.scan_cache.read_bytes()
        if content != self._scan_cache_put:
            self._beside.put(self.url.name + ".scan", content)
            self._scan_cache_put = content

    def put_reports(self) -> None:
        """See `Workspace.put_reports`."""
        self._beside.put_file(self.url.name + ".report.json", self.report)
        if self.reports.is_dir():
            for path in sorted(self.reports.iterdir()):
                self._beside.put_file(f"{self.url.name}.reports/{path.name}", path)

    def publish(self, report: bytes) -> None:
        """Put the small files, then the report, then create the manifest.

        Raises:
            OutputError: another process has published a cache.
            MachineError: an object is gone.
            OSError: the disk fails.
            ObjectStoreError: the store cannot be reached.
        """
        files = [path for path in sorted(self.cache.rglob("*")) if path.is_file()]
        manifest = self.cache / manifest_name(0)
        self._put_files(self.cache, [path for path in files if path != manifest])
        write_file(self.report, report)
        self.put_reports()
        self._sizes = None
        for tree in read_trees(self.cache):
            for each in tree.generations:
                for file in [*each.generation.files, *each.generation.shards]:
                    if not self.has_size(file.inside(each.folder)):
                        name = self.url.object_text(f"{each.folder}/{file.name}")
                        raise MachineError(
                            f"{name}: is not there as it was put; the same command puts it again"
                        )
        try:
            self._create(manifest.name, manifest.read_bytes())
        except FileExistsError:
            raise self.published_by_another() from None

    def put_folders(self, folders: Iterable[str]) -> None:
        """Put folders of the copy of the tables, which the next version of the manifest names. Raises as `publish`."""
        for folder in folders:
            files = [path for path in sorted((self.output / folder).rglob("*")) if path.is_file()]
            self._put_files(self.output, files)

    def create_manifest(self, manifest: CacheManifest) -> None:
        """Create the next version of the manifest.

        Raises:
            FileExistsError: another process has written this version.
            ObjectStoreError: the store cannot be reached.
        """
        self._create(manifest_name(manifest.version), encode_manifest(manifest))

    def _put_files(self, root: Path, files: Sequence[Path]) -> None:
        with ThreadPoolExecutor(_NUM_IN_FLIGHT) as threads:
            keys = [path.relative_to(root).as_posix() for path in files]
            for _ in threads.map(lambda key, path: put_once(self.objects, key, path), keys, files):
                pass  # raises what a request raised

    def _create(self, name: str, content: bytes) -> None:
        try:
            self.objects.create(name, content)
        except FileExistsError:
            is_ours = self._has(name, content)  # an answer was lost, or another process had the same inputs
            if not is_ours:
                raise

    def published_by_another(self) -> OutputError:
        """The error for a cache that another process has published meanwhile."""
        name = self.url.object_text(manifest_name(0))
        return OutputError(f"{name}: another process has published it meanwhile; run the same command again")

    def was_overtaken(self) -> bool:
        """Whether another process has published a cache since `is_there` found none, and removed the common work."""
        if not self._was_empty:
            return False
        try:
            return newest_version(self.objects) is not None
        except StoreError:
            return False

    def _has(self, name: str, content: bytes) -> bool:
        try:
            is_as_long = self.objects.head(name).num_bytes == len(content)
            return is_as_long and self.objects.get(name, max_bytes=len(content)) == content
        except ObjectMissingError:
            return False

    def _fetch(self, ending: str, path: Path) -> None:
        try:
            download(self._beside, self.url.name + ending, path)
        except ObjectMissingError:
            path.unlink(missing_ok=True)


def _probes_beside(client: ObjectClient) -> ObjectClient:
    """A folder for small objects that show what can be done in a store. It is empty again after each."""
    url = client.url
    return ObjectClient(
        RemoteUrl(scheme=url.scheme, root=url.root, path=f"{url.path}.probe"), policy=client.policy
    )


def _is_of_a_cache(key: str) -> bool:
    first, _, rest = key.partition("/")
    if is_camera_folder(first):
        first, _, rest = rest.partition("/")
    is_folder = is_generation_folder(first) or is_columns_folder(first) or is_content_folder(first)
    return (is_folder and bool(rest)) or (not rest and manifest_version(first) is not None)


def _work_folder(url: RemoteUrl, scratch: Path | None) -> Path:
    """The folder for what lies on this machine; the same for each run, so that a killed one leaves nothing for ever.

    Raises:
        OutputError: another user has made it.
    """
    digest = hashlib.sha256(f"{url.scheme}://{url.root}/{url.path}".encode()).hexdigest()
    if scratch is not None:
        return scratch / f"{url.name}-{digest[:8]}"
    top = Path(tempfile.gettempdir()) / f"frame-cache-{os.getuid()}"
    top.mkdir(mode=0o700, exist_ok=True)
    found = top.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise OutputError(f"{top}: is no folder of this user alone; remove it, or set TMPDIR")
    return top / digest[:16]
