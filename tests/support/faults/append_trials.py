"""One fault in one small append, and whether everything that is promised of it came true."""

import shutil
from pathlib import Path

import numpy as np

from frame_store.manifest import read_manifest
from frame_store.reader import CacheStore
from tests.support.faults.fault_trials import NUM_FRAMES, VARIANTS, problems_of_end, write_tables
from tests.support.faults.faults import BuildServer, Ended, Fault, digests
from tests.support.lerobot import CameraSpec, write_lerobot
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

APPEND_STARTS = ("plain", "content order, columns", "cameras, a video is replaced")


class AppendTrials:
    """Appends one video, or replaces one, to a cache of two tiny ones. Each trial begins anew."""

    def __init__(self, server: BuildServer, folder: Path, *, start: str) -> None:
        self._server = server
        self._folder = folder / "out"
        self.output = self._folder / "cache"
        self._before = folder / "before"
        for path in (self._before, self._folder):
            shutil.rmtree(path, ignore_errors=True)
        has_cameras = start.startswith("cameras")
        self._videos, later = self._made_videos(folder, with_cameras=has_cameras)
        flags, self._flags = [*VARIANTS["wds-cameras" if has_cameras else "wds-jpeg"]], ["--append"]
        if "columns" in start:
            tables = [f"--columns={path}" for path in write_tables(folder / "tables")]
            flags += [*tables, "--columns-missing", "mask", "--content-order"]
            self._flags += ["--columns-missing", "mask"]
        if "replaced" in start:
            self._flags += ["--forget", "episode_000001"]
        built = server.run("--videos", self._videos, "--out", self.output, *flags)
        assert built.returncode == 0, built.stderr
        self._old = digests(self.output)
        self._frames = self._read()
        self._folder.rename(self._before)
        self._videos = later
        self._reset()
        undisturbed = self._append()
        assert undisturbed.returncode == 0, undisturbed.stderr
        self.changes = undisturbed.changes
        """What an undisturbed append changes, in order: fault number n hits number n of these."""
        self._new = digests(self.output)
        assert len(read_manifest(self.output).counted_generations) == 2

    def problems(self, fault: Fault, *, kill_after: float | None = None) -> list[str]:
        """The promises that were broken; empty if none was. The process is killed after `kill_after` seconds."""
        self._reset()
        first = self._append(fault=fault, kill_after=kill_after)
        found = problems_of_end(first, may_be_killed=fault.action == "kill" or kill_after is not None)
        left = digests(self.output)
        if not self._old.items() <= left.items():
            found.append("a file of the old version is missing or has changed")
        version = read_manifest(self.output).version
        is_new = version > max(int(name[9:13]) for name in self._old if name.startswith("manifest-"))
        if is_new and left != self._new:
            found.append("the new version is there, and not all of its files")
        if self._read()[: len(self._frames)] != self._frames:
            found.append("frames of the old version are missing or differ")
        if first.returncode == 0 and left != self._new:
            found.append("exit code 0, and it is not done")
        second = self._append()
        if second.returncode != 0:
            found.append(f"the same command ended with {second.returncode}: {second.stderr}")
        elif digests(self.output) != self._new:
            found.append("the same command did not end in the bytes of an undisturbed append")
        known = {self.output.name + suffix for suffix in ("", ".lock", ".scan", ".report.json", ".reports")}
        if strange := {path.name for path in self._folder.iterdir()} - known:
            found.append(f"files that were not removed: {sorted(strange)}")
        return found

    @staticmethod
    def _made_videos(folder: Path, *, with_cameras: bool) -> tuple[Path, Path]:
        """The videos of the cache, and those of the append, made once."""
        kind = "lerobot" if with_cameras else "videos"
        before, later = folder / f"{kind}-before", folder / f"{kind}-later"
        if before.exists():
            return before, later
        if not with_cameras:
            tiny_folder(later, simple_specs(3, num_frames=NUM_FRAMES))
            before.mkdir()
            for name in ("00.mp4", "01.mp4"):
                shutil.copy2(later / name, before / name)
            return before, later
        for root, lengths in ((before, (5, 7)), (later, (5, 8))):
            cameras = tuple(CameraSpec(key=key, episodes_per_file=(1,)) for key in "ab")
            write_lerobot(root, cameras=cameras, lengths=lengths)
        return before, later

    def _read(self) -> list[bytes]:
        with CacheStore(self.output, camera=self._camera, reads="pread") as store:
            return [frame.tobytes() for frame in store.read_frames(np.arange(len(store)))]

    @property
    def _camera(self) -> str | None:
        cameras = read_manifest(self.output).cameras
        return cameras[0].name if cameras else None

    def _append(self, *, fault: Fault | None = None, kill_after: float | None = None) -> Ended:
        flags = ("--videos", self._videos, "--out", self.output, *self._flags)
        return self._server.run(*flags, fault=fault, kill_after=kill_after)

    def _reset(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._before, self._folder)
