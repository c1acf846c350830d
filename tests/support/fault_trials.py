"""One fault in one small build, and whether everything that is promised of it came true."""

import shutil
from pathlib import Path

from cache_builder.cli import EXIT_MACHINE_FAILED
from tests.support.faults import BuildServer, Ended, Fault, digests
from tests.support.tiny_videos import simple_specs, tiny_folder

KILLED = -9
VARIANTS = {
    "wds-jpeg": ["--size", "16", "--frames-per-shard", "10"],
    "zarr-raw": ["--size", "16", "--frames-per-shard", "10", "--format", "zarr", "--encoding", "raw"],
}
_OTHER_SETTINGS = ["--size", "8", "--frames-per-shard", "10"]


class FaultTrials:
    """Builds of two tiny videos into `folder / "out"`, with one variant's flags; each trial begins anew.

    With `replaces` a cache of other settings is complete at the output before, and the flags say `--overwrite`.
    """

    def __init__(self, server: BuildServer, folder: Path, *, variant: str, replaces: bool = False) -> None:
        self._server = server
        self._videos = folder / "videos"
        if not self._videos.exists():
            tiny_folder(self._videos, simple_specs(2, num_frames=12))
        self._folder = folder / "out"
        self.output = self._folder / "cache"
        self._before = folder / "before"
        self._flags = VARIANTS[variant]
        shutil.rmtree(self._before, ignore_errors=True)
        self._before.mkdir()
        self._old: dict[str, str] | None = None
        self._reset()
        if replaces:
            old = self._build(_OTHER_SETTINGS)
            assert old.returncode == 0, old.stderr
            self._old = digests(self.output)
            self._before.rmdir()
            self._folder.rename(self._before)
            self._flags = [*self._flags, "--overwrite"]
        self._reset()
        undisturbed = self._build(self._flags)
        assert undisturbed.returncode == 0, undisturbed.stderr
        self.changes = undisturbed.changes
        """What an undisturbed build changes, in order: fault number n hits number n of these."""
        self._new = digests(self.output)

    def problems(self, fault: Fault, *, kill_after: float | None = None) -> list[str]:
        """What was not as promised; empty if all was. `kill_after` so many seconds the build is killed."""
        self._reset()
        first = self._build(self._flags, fault=fault, kill_after=kill_after)
        found = self._problems_of_end(first, may_be_killed=fault.action == "kill" or kill_after is not None)
        left = digests(self.output) if self.output.exists() else None
        if left not in (self._old, self._new):
            found.append("what is at the output is neither what was there nor the finished cache")
        if first.returncode == 0 and left != self._new:
            found.append("exit code 0, and the output is not the finished cache")
        second = self._build(self._flags)
        if second.returncode != 0:
            found.append(f"the same command ended with {second.returncode}: {second.stderr}")
        elif digests(self.output) != self._new:
            found.append("the same command did not end in the bytes of an undisturbed build")
        known = {self.output.name + suffix for suffix in ("", ".lock", ".scan", ".report.json")}
        if strange := {path.name for path in self._folder.iterdir()} - known:
            found.append(f"left behind: {sorted(strange)}")
        return found

    def _problems_of_end(self, end: Ended, *, may_be_killed: bool) -> list[str]:
        found = []
        if "Traceback" in end.stderr:
            found.append(f"a traceback: {end.stderr}")
        expected = {0, KILLED} if may_be_killed else {0, EXIT_MACHINE_FAILED}
        if end.returncode not in expected:
            found.append(f"exit code {end.returncode}: {end.stderr}")
        if end.returncode == EXIT_MACHINE_FAILED and "the same command resumes" not in end.stderr:
            found.append(f"does not say how to go on: {end.stderr}")
        return found

    def _build(
        self, flags: list[str], *, fault: Fault | None = None, kill_after: float | None = None
    ) -> Ended:
        return self._server.run(
            "--videos", self._videos, "--out", self.output, *flags, fault=fault, kill_after=kill_after
        )

    def _reset(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._before, self._folder)
