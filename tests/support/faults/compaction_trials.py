"""One fault in one compaction of a small cache, and whether everything that is promised of it came true."""

import shutil
from pathlib import Path

import numpy as np

from frame_store.manifest import read_manifest
from frame_store.reader import CacheStore
from frame_store.verify import verify_store
from tests.support.caches.made_generations import write_grown
from tests.support.faults.fault_trials import problems_of_end
from tests.support.faults.faults import BuildServer, Ended, Fault, digests

ARGUMENTS = ("--all", "--remove-superseded")


class CompactionTrials:
    """Joins the generations of a cache and removes the old ones. Each trial begins anew."""

    def __init__(self, server: BuildServer, folder: Path, *, variant: str) -> None:
        self._server = server
        self._folder = folder / "out"
        self.output = self._folder / "cache"
        self._before = folder / "before"
        for path in (self._before, self._folder):
            shutil.rmtree(path, ignore_errors=True)
        self._before.mkdir(parents=True)
        write_grown(self._before / "cache", variant, [(5, 3), (4,)])
        self._frames = self._read(self._before / "cache")
        self._reset()
        undisturbed = self._compact()
        assert undisturbed.returncode == 0, undisturbed.stderr
        self.changes = undisturbed.changes
        """What an undisturbed call changes, in order: fault number n hits number n of these."""
        self._new = digests(self.output)
        assert self._read(self.output) == self._frames
        assert "removed" in undisturbed.stdout

    def problems(self, fault: Fault, *, kill_after: float | None = None) -> list[str]:
        """The promises that were broken; empty if none was. The process is killed after `kill_after` seconds."""
        self._reset()
        first = self._compact(fault=fault, kill_after=kill_after)
        may_be_killed = fault.action == "kill" or kill_after is not None
        found = problems_of_end(first, may_be_killed=may_be_killed)
        if self._read(self.output) != self._frames:
            found.append("frames are missing or differ")
        named = [self.output / folder for folder in read_manifest(self.output).folders]
        found += [f"{path} is missing" for path in named if not path.is_dir()]
        if first.returncode == 0 and digests(self.output) != self._new:
            found.append("exit code 0, and it is not done")
        second = self._compact()
        if second.returncode != 0:
            found.append(f"the same command ended with {second.returncode}: {second.stderr}")
        elif digests(self.output) != self._new:
            found.append("the same command did not end in the bytes of an undisturbed one")
        found += [f"verify: {problem}" for problem in verify_store(self.output).problems]
        if strange := {path.name for path in self._folder.iterdir()} - {"cache", "cache.lock"}:
            found.append(f"files that were not removed: {sorted(strange)}")
        return found

    def _read(self, cache: Path) -> list[bytes]:
        cameras = [camera.name for camera in read_manifest(cache).cameras] or [None]
        stores = [CacheStore(cache, camera=camera, verify_reads=True, reads="pread") for camera in cameras]
        return [store.read_frames(np.arange(len(store))).tobytes() for store in stores]

    def _compact(self, *, fault: Fault | None = None, kill_after: float | None = None) -> Ended:
        return self._server.run(
            self.output, *ARGUMENTS, fault=fault, kill_after=kill_after, command="cache-compact"
        )

    def _reset(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._before, self._folder)
