"""One fault in one small build, and whether everything that is promised of it came true."""

import shutil
from pathlib import Path

from cache_builder.cli.exit_status import EXIT_MACHINE_FAILED
from tests.support.faults.faults import BuildServer, Ended, Fault, digests
from tests.support.videos.tiny_videos import simple_specs, tiny_folder, tiny_video

KILLED = -9
VARIANTS = {
    "wds-jpeg": ["--size", "16", "--frames-per-shard", "10"],
    "zarr-raw": ["--size", "16", "--frames-per-shard", "10", "--format", "zarr", "--encoding", "raw"],
}
CODECS = {
    ".mp4": "h264",
    ".mov": "hevc",
    ".mkv": "h264",
    ".webm": "vp9",
    ".avi": "mpeg4",
    ".ts": "h264",
    ".mpg": "mpeg2video",
    ".flv": "h264",
    ".h264": "h264",
}
"""One of each kind of container, by its extension."""
_OTHER_SETTINGS = ["--size", "8", "--frames-per-shard", "10"]


class FaultTrials:
    """Builds two tiny videos into `folder / "out"` with the flags of one variant. Each trial begins anew.

    With `replaces`, the output already holds a complete cache of other settings, and the flags contain `--overwrite`.
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
        """The promises that were broken; empty if none was. The build is killed after `kill_after` seconds."""
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
            found.append(f"files that were not removed: {sorted(strange)}")
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


class ReadTrials:
    """Builds one video while one read of it fails once. Each trial starts from nothing and leaves nothing."""

    def __init__(self, server: BuildServer, folder: Path, *, suffix: str) -> None:
        self._server = server
        self._video = tiny_video(
            folder / f"videos{suffix}",
            path=Path(f"v{suffix}"),
            codec=CODECS[suffix],
            num_frames=90,
            width=256,
            height=256,
            gop_size=10,
            num_b_frames=2 if suffix in (".mp4", ".ts", ".mpg", ".flv") else 0,
        ).path
        self._folder = folder / "out"
        self.output = self._folder / "cache"
        undisturbed = self._build(Fault(read_path=self._video, num_reads_to_fail=0))
        assert undisturbed.returncode == 0, undisturbed.stderr
        self.num_reads = undisturbed.num_reads
        """How often an undisturbed build reads from the video: to scan, to hash and to decode it."""
        self._expected = digests(self.output)

    def problems(self, number: int, *, num_reads: int = 1) -> list[str]:
        """The promises that were broken when reads `number` to `number + num_reads - 1` failed, counted from 1."""
        first = self._build(Fault(read_path=self._video, first_read=number, num_reads_to_fail=num_reads))
        found = []
        if "Traceback" in first.stderr:
            found.append(f"a traceback: {first.stderr}")
        if first.returncode != EXIT_MACHINE_FAILED:
            found.append(f"exit code {first.returncode}: {first.stderr}")
        for words in ("Input/output error", str(self._video), "the same command resumes"):
            if words not in first.stderr:
                found.append(f"does not say {words!r}: {first.stderr}")
        if self.output.exists():
            found.append("there is a cache")
        second = self._build(None, anew=False)
        if second.returncode != 0:
            found.append(f"the same command ended with {second.returncode}: {second.stderr}")
        elif digests(self.output) != self._expected:
            found.append("the same command did not end in the bytes of an undisturbed build")
        return found

    def _build(self, fault: Fault | None, *, anew: bool = True) -> Ended:
        if anew:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
        flags = ["--size", "16", "--frames-per-shard", "10", "--on-error", "skip"]
        return self._server.run("--videos", self._video.parent, "--out", self.output, *flags, fault=fault)
