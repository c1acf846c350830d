"""The files and folders of a build beside its output: locked, and for one set of inputs and settings at a time.

```
CACHE                  appears whole, by one rename
CACHE.building/        everything of an unfinished build; removed when it is done
    identity.json      the inputs and settings this folder belongs to
    spill/             encoded frames and receipts of decoded units
    plan/              sources.npy, source_of_frame.npy: the shard plan
    receipts/          one per finished shard
    work/              shards and objects that are being written
    cache/             the cache itself, in the making: gen-.../, and at last manifest-0000.json
                       with cameras, plan/, receipts/ and cache/ have a folder for each: camera-00/
CACHE.columns.building/  columns in the making; removed when they are in the cache
CACHE.content.building/  a content order in the making
CACHE.compact.building/  generations that are joined, until they are in the cache; and folders that are being removed
CACHE.reports/         reports of earlier appends: they have the tables of videos of their generations
CACHE.nodes            random bytes that every node of a cluster must see there; removed when the build ends
CACHE.scan             scan cache       CACHE.report.json  last report       CACHE.lock  held while building
```
With `--scratch DIR`, spill/, plan/ and receipts/ are in DIR/CACHE-<8 hex>.building/, which has an identity.json, too.
With `--scratch URL`, what is in spill/ lies there.
"""

import errno
import glob
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cache_builder.errors import OutputError
from cache_builder.jobs import TEMPORARY, GatherPlaces, ObjectSpill, SpillPlace
from cache_builder.stages.workspace.locking import locked_file
from cache_builder.stages.workspace.own_files import (
    REPORT_START,
    SCAN_CACHE_START,
    begins_with,
    clear,
    require_ours,
)
from cache_builder.stages.workspace.scratch_objects import ScratchObjects
from cache_builder.stages.workspace.unfinished import (
    IDENTITY_NAME,
    claim_folder,
    read_identity,
    remove_folder,
)
from frame_store.files import publish_folder, write_file
from frame_store.manifest import FileEntry
from frame_store.names import camera_folder, is_camera_folder, is_columns_folder, is_generation_folder
from frame_store.remote import ObjectClient
from frame_store.shared import counted
from frame_store.verify import has_size

_MAX_NAME_BYTES = 255
_FAILURES_OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}

REMOVED_NAME = "removed"
"""Folder, in that of a compaction, of folders that were taken out of the cache and are being deleted."""

_NOT_PERMITTED = {errno.EROFS, errno.EACCES, errno.EPERM}


class Workspace:
    """Paths around one output. `RemoteWorkspace` is that of an output in an object store."""

    scratch: ScratchObjects | None = None
    """Unfinished work in an object store."""

    def __init__(self, output: Path, *, scratch: Path | ScratchObjects | None = None) -> None:
        """`scratch` is where unfinished work goes, except for the cache itself; None: beside the output."""
        if not output.name:
            raise OutputError(f"{output}: cannot be a cache, there is no place beside it")
        self.output = output
        self.building = output.with_name(output.name + ".building")
        self.columns = output.with_name(output.name + ".columns.building")
        self.made_columns = self.columns / "columns"
        self.content = output.with_name(output.name + ".content.building")
        self.made_content = self.content / "content"
        self.compaction = output.with_name(output.name + ".compact.building")
        self.scan_cache = output.with_name(output.name + ".scan")
        self.report = output.with_name(output.name + ".report.json")
        self.reports = output.with_name(output.name + ".reports")
        self.nodes = output.with_name(output.name + ".nodes")
        self.lock = output.with_name(output.name + ".lock")
        self.identity = self.building / IDENTITY_NAME
        self.aside = self.building
        """Of spill, plan and receipts."""
        if isinstance(scratch, Path):
            self.aside = (
                scratch / f"{output.name}-{hashlib.sha256(os.fsencode(output)).hexdigest()[:8]}.building"
            )
        elif scratch is not None:
            self.scratch = scratch
        self.spill = self.aside / "spill"
        self.plan = self.aside / "plan"
        self.receipts = self.aside / "receipts"
        self.cache = self.building / "cache"
        self.work = self.building / "work"
        """For shards before they get their names, and for objects before they are put."""
        self._folders: tuple[Path, ...] = (self.spill, self.plan, self.receipts, self.cache, self.work)
        self._check_places()

    @property
    def title(self) -> str:
        """What the output is called in messages and reports."""
        return str(self.output)

    @property
    def unfinished_title(self) -> str:
        """What the place of unfinished work is called in messages."""
        return str(self.building) if self.scratch is None else self.scratch.client.url.text

    def is_there(self) -> bool:
        """Whether anything is at the output; an empty folder is nothing.

        Raises:
            OutputError: it is a file.
        """
        if not os.path.lexists(self.output):
            return False
        if not self.output.is_dir():
            raise OutputError(f"{self.output}: is a file; give {{--out}} a folder that does not exist yet")
        return any(self.output.iterdir())

    def has_size(self, file: FileEntry) -> bool:
        """Whether a file of the complete cache is there with the recorded size."""
        return has_size(self.output, file)

    @property
    def spill_place(self) -> SpillPlace:
        """Where decoded units are kept."""
        if self.scratch is None:
            return self.spill
        return ObjectSpill(client=self.scratch.spill, work=self.work)

    @property
    def has_units(self) -> bool:
        """Whether an interrupted run of this identity has decoded units. The folder has been claimed."""
        if self.scratch is not None:
            return self.scratch.was_there
        return any(self.spill.glob("*.receipt"))

    @property
    def disk_needs(self) -> list[tuple[Path, int]]:
        """Folders, and how often the bytes of the cache are needed on the disk of each while building."""
        if self.scratch is not None:
            return [(self.building, 1)]
        return [(self.building, 2)] if self.aside == self.building else [(self.building, 1), (self.aside, 1)]

    def put_scan_cache(self) -> None:
        """Keep the scan cache, which has been written: only an object store needs it."""

    def put_reports(self) -> None:
        """Keep the report and the earlier ones, which have been written: only an object store needs it."""

    def refresh(self) -> None:
        """Take notice of what other processes have written at the output: only an object store needs it."""

    def publish(self, report: bytes) -> None:
        """Make the finished cache appear. The report is written before, so that every cache has its report.

        Raises:
            OSError: disk full or failing.
        """
        write_file(self.report, report)
        publish_folder(self.cache, self.output)

    @property
    def places(self) -> GatherPlaces:
        """The folders of a cache without cameras."""
        return GatherPlaces(
            spill=self.spill_place,
            plan=self.plan,
            receipts=self.receipts,
            work=self.work,
            cache=self.cache,
        )

    def places_of_camera(self, number: int) -> GatherPlaces:
        """The folders of a camera, which exist from now on."""
        folder = camera_folder(number)
        places = GatherPlaces(
            spill=self.spill_place,
            plan=self.plan / folder,
            receipts=self.receipts / folder,
            work=self.work,
            cache=self.cache / folder,
        )
        for path in (places.plan, places.receipts, places.cache):
            path.mkdir(exist_ok=True)
        return places

    @property
    def node_tokens(self) -> list[Path]:
        """Files in the folders that every node of a cluster must see."""
        beside = self.aside.with_name(f"{self.aside.name}.nodes")
        return [self.nodes] if self.aside == self.building else [self.nodes, beside]

    @property
    def node_stores(self) -> list[ObjectClient]:
        """Places of object stores in which every node must be able to read and write, beside what a build keeps."""
        return [] if self.scratch is None else [self.scratch.nodes]

    @property
    def own_places(self) -> tuple[Path, ...]:
        """The output, and everything that builds put beside it."""
        return (
            self.output,
            self.building,
            self.aside,
            self.columns,
            self.content,
            self.compaction,
            self.scan_cache,
            self.report,
            self.reports,
            *self.node_tokens,
            self.lock,
        )

    @property
    def num_bytes_unfinished(self) -> int:
        """Bytes of an unfinished build, which a build of the same cache takes over."""
        return sum(
            path.stat().st_size
            for folder in {self.building, self.aside}
            for path in folder.rglob("*")
            if path.is_file()
        )

    def require_own_files(self) -> None:
        """Refuse to replace a file that has the name of the report or scan cache, and that no build wrote.

        Raises:
            OutputError: there is one.
            OSError: the disk fails.
        """
        for path, start, what in (
            (self.report, REPORT_START, "report"),
            (self.scan_cache, SCAN_CACHE_START, "scan cache"),
        ):
            if os.path.lexists(path) and not begins_with(path, start):
                raise OutputError(
                    f"{path}: is not the {what} of a build, which would be written there; "
                    "move it away, or give another {--out}"
                )

    @contextmanager
    def locked(self, *, if_not_writable: str) -> Iterator[None]:
        """Lock the output for this process; the system unlocks it when the process ends, however it ends.

        `if_not_writable` is the remedy for an output beside which nothing can be written.

        Raises:
            OutputError: another build holds it, something else is in the way, or nothing can be written there.
            OSError: disk full or failing.
        """
        try:
            descriptor = locked_file(self.lock)
        except BlockingIOError as error:
            raise OutputError(
                f"{self.output}: another process is writing it; give the same command again when it has ended"
            ) from error
        except OSError as error:
            if error.errno in _FAILURES_OF_THE_MACHINE:
                raise
            raise self.not_writable(error, remedy=if_not_writable) from error
        try:
            self._remove_temporaries()
            try:
                yield
            except OSError as error:
                if error.errno not in _NOT_PERMITTED or not self._is_own(error.filename):
                    raise
                raise self.not_writable(error, remedy=if_not_writable) from error
        finally:
            os.close(descriptor)

    def not_writable(self, error: OSError, *, remedy: str) -> OutputError:
        """The error for an output beside which nothing can be written, such as on a share that is mounted read-only."""
        return OutputError(f"{self.output}: cannot be written: {error.filename}: {error.strerror}; {remedy}")

    def _is_own(self, path: object) -> bool:
        """Whether a path is, or lies in, one of the places of a build."""
        if not isinstance(path, str):
            return False
        return not {Path(path), *Path(path).parents}.isdisjoint(self.own_places)

    def claim(
        self, identity: dict[str, Any], *, overwrite: bool, to_discard: str = "discard it with {--overwrite}"
    ) -> None:
        """Make `building/` belong to `identity`, keeping what an interrupted build of the same left there.

        `to_discard` states how to get rid of unfinished work of another identity.

        Raises:
            OutputError: it holds an unfinished build of something else and `overwrite` is not given.
        """
        if self.scratch is not None:
            self.scratch.claim(identity, overwrite=overwrite, to_discard=to_discard)
        self._claim_folders(identity, overwrite=overwrite, to_discard=to_discard)

    def _claim_folders(self, identity: dict[str, Any], *, overwrite: bool, to_discard: str) -> None:
        for folder in dict.fromkeys([self.building, self.aside]):
            claim_folder(folder, identity, folders=self._folders, overwrite=overwrite, to_discard=to_discard)
        for left in [*self.work.iterdir(), *self.spill.glob(f"*{TEMPORARY}")]:
            left.unlink(missing_ok=True)

    def _check_places(self) -> None:
        """Refuse places that would make the build fail at its end."""
        longest = len(os.fsencode(self.report.name)) + len(f".{2**32}.tmp")
        if longest > _MAX_NAME_BYTES:
            raise OutputError(
                f"{self.output}: its name is too long by {counted(longest - _MAX_NAME_BYTES, 'byte')}; "
                "give a shorter {--out}"
            )
        for path in (self.scan_cache, self.report, self.lock):
            if path.is_dir():
                raise OutputError(f"{path}: is a folder, and a build needs that name; give another {{--out}}")
        if os.path.lexists(self.building) and not self.building.is_dir():
            raise OutputError(
                f"{self.building}: is a file, and a build needs that name; give another {{--out}}"
            )

    def unfinished(self) -> dict[str, Any] | None:
        """The identity of unfinished work; None where there is none, or it has no identity that can be read."""
        return read_identity(self.building)

    def remove_building(self, *, of: dict[str, Any]) -> None:
        """Remove the working files of a finished build of identity `of`; unfinished work of another identity stays."""
        if self.scratch is not None:
            self.scratch.remove(of=of)
        for building in dict.fromkeys([self.aside, self.building]):
            remove_folder(building, folders=self._folders, of=of)

    def clear_what_follows_shards(self) -> None:
        """Remove columns and manifest of an unfinished cache, whole or half written: they come after its shards."""
        for path in self.cache.iterdir():
            if is_columns_folder(path.name):
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()

    def clear_columns(self) -> None:
        """Remove what a process that wrote columns left there.

        Raises:
            OutputError: something else has the name.
        """
        clear(self.columns, is_ours=lambda name: name == self.made_columns.name or is_columns_folder(name))

    def clear_content(self) -> None:
        """Remove what a process that wrote a content order left there.

        Raises:
            OutputError: something else has the name.
        """
        clear(self.content, is_ours=lambda name: name == self.made_content.name)

    def require_own_compaction(self) -> None:
        """Refuse a working folder of a compaction in which something else lies.

        Raises:
            OutputError: there is one.
        """
        require_ours(self.compaction, is_ours=_is_of_compaction)

    def clear_compaction(self) -> None:
        """Remove what a compaction left there. Raises as `require_own_compaction`."""
        clear(self.compaction, is_ours=_is_of_compaction)

    def _remove_temporaries(self) -> None:
        """Remove files that a killed build had not yet renamed; only the holder of the lock writes such files."""
        for path in (self.scan_cache, self.report):
            for leftover in path.parent.glob(f"{glob.escape(path.name)}.*.tmp"):
                if (
                    leftover.name.removeprefix(f"{path.name}.").removesuffix(".tmp").isdecimal()
                ):  # as `write_file` names them
                    leftover.unlink()


def _is_of_compaction(name: str) -> bool:
    return name == REMOVED_NAME or is_generation_folder(name) or is_camera_folder(name)
