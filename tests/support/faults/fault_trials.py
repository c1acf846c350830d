"""One fault in one small build, and whether everything that is promised of it came true."""

import csv
import shutil
from pathlib import Path

from cache_builder.cli.exit_status import EXIT_MACHINE_FAILED
from frame_store import open_store
from frame_store.errors import StoreError
from frame_store.verify import verify_store
from tests.support.faults.faults import BuildServer, Ended, Fault, digests
from tests.support.lerobot import CameraSpec, write_lerobot
from tests.support.videos.tiny_videos import simple_specs, tiny_folder, tiny_video

KILLED = -9
NUM_FRAMES = 12
"""Of the first video; the second has some more."""
COLUMNS = [
    *("--columns", "{tables}/videos.csv", "--columns", "{tables}/frames.csv", "--columns-missing", "mask")
]
VARIANTS = {
    "wds-jpeg": ["--size", "16", "--frames-per-shard", "10"],
    "zarr-raw": ["--size", "16", "--frames-per-shard", "10", "--format", "zarr", "--encoding", "raw"],
    "wds-stride-columns": ["--size", "16", "--frames-per-shard", "10", "--stride", "2", *COLUMNS],
    "zarr-fps-columns": [
        *("--size", "16", "--frames-per-shard", "10", "--format", "zarr", "--encoding", "zstd"),
        *("--layout", "video", "--fps", "10", *COLUMNS),
    ],
    "wds-cameras": ["--size", "16", "--frames-per-shard", "6"],
    "zarr-cameras": [
        *("--size", "16", "--frames-per-shard", "6", "--format", "zarr", "--encoding", "zstd"),
        *("--layout", "video"),
    ],
}
"""Flags of small builds. `{tables}` is the folder of `write_tables`. With `cameras` a LeRobot data set is built, whose
second camera is one of depth."""
PLAIN_NAMES = ("00.mp4", "01.mp4")
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
COLUMNS_STARTS = ("without columns", "with columns", "with cameras")
_OTHER_SETTINGS = ["--size", "8", "--frames-per-shard", "10"]


def write_tables(
    folder: Path, *, num_frames: int = NUM_FRAMES, names: tuple[str, str] = PLAIN_NAMES
) -> list[Path]:
    """Tables for the first two videos of the trials: texts per video, numbers and texts per frame of the first one."""
    folder.mkdir(exist_ok=True)
    with (folder / "videos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["video", "goal"], [names[0], "push"], [names[1], "öffnen"]])
    frames = [[names[0], frame, frame / 8, f"note {frame % 3}"] for frame in range(num_frames)]
    with (folder / "frames.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["video", "frame", "state", "note"], *frames])
    return [folder / "videos.csv", folder / "frames.csv"]


def made_videos(folder: Path, *, with_cameras: bool) -> Path:
    """Videos for trials in `folder`, made once: two plain ones, or a data set of two episodes and two cameras."""
    if with_cameras:
        root = folder / "lerobot"
        if not root.exists():
            depth = CameraSpec(key="b", codec="ffv1", depth="gray16le", episodes_per_file=(1,))
            write_lerobot(
                root,
                cameras=(CameraSpec(key="a"), depth),
                lengths=(5, 7),
                video_path="videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mkv",
            )
        return root
    videos = folder / "videos"
    if not videos.exists():
        tiny_folder(videos, simple_specs(2, num_frames=NUM_FRAMES))
    return videos


class FaultTrials:
    """Builds two tiny videos into `folder / "out"` with the flags of one variant. Each trial begins anew.

    With `replaces`, the output already holds a complete cache of other settings, and the flags contain `--overwrite`.
    """

    def __init__(self, server: BuildServer, folder: Path, *, variant: str, replaces: bool = False) -> None:
        self._server = server
        self._videos = made_videos(folder, with_cameras=variant.endswith("cameras"))
        write_tables(folder / "tables")
        self._folder = folder / "out"
        self.output = self._folder / "cache"
        self._before = folder / "before"
        self._flags = [flag.format(tables=folder / "tables") for flag in VARIANTS[variant]]
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
        self._complete = [self._new]
        if "--columns" in self._flags:
            self._reset()
            without = self._build(self._flags[: self._flags.index("--columns")] + self._after_columns())
            assert without.returncode == 0, without.stderr
            self._complete.append(digests(self.output))

    def _after_columns(self) -> list[str]:
        return ["--overwrite"] if self._old is not None else []

    def problems(self, fault: Fault, *, kill_after: float | None = None) -> list[str]:
        """The promises that were broken; empty if none was. The build is killed after `kill_after` seconds."""
        self._reset()
        first = self._build(self._flags, fault=fault, kill_after=kill_after)
        found = problems_of_end(first, may_be_killed=fault.action == "kill" or kill_after is not None)
        left = digests(self.output) if self.output.exists() else None
        if left not in (self._old, *self._complete):
            found += problems_between_versions(self.output, left, self._complete)
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

    def _build(
        self, flags: list[str], *, fault: Fault | None = None, kill_after: float | None = None
    ) -> Ended:
        return self._server.run(
            "--videos", self._videos, "--out", self.output, *flags, fault=fault, kill_after=kill_after
        )

    def _reset(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._before, self._folder)


def problems_of_end(end: Ended, *, may_be_killed: bool) -> list[str]:
    """What is wrong with how a command ended."""
    found = []
    if "Traceback" in end.stderr:
        found.append(f"a traceback: {end.stderr}")
    expected = {0, KILLED} if may_be_killed else {0, EXIT_MACHINE_FAILED}
    if end.returncode not in expected:
        found.append(f"exit code {end.returncode}: {end.stderr}")
    if end.returncode == EXIT_MACHINE_FAILED and "the same command resumes" not in end.stderr:
        found.append(f"does not say how to go on: {end.stderr}")
    return found


class ColumnsTrials:
    """Adds columns to a complete cache of two tiny videos, with others there or not. Each trial begins anew.

    `with cameras` starts from a cache of two cameras, which has the columns of its data set.
    """

    def __init__(self, server: BuildServer, folder: Path, *, start: str) -> None:
        self._server = server
        self._folder = folder / "out"
        self.output = self._folder / "cache"
        self._before = folder / "before"
        self._tables = folder / "tables"
        has_cameras = start == "with cameras"
        videos = made_videos(folder, with_cameras=has_cameras)
        names = ("episode_000000", "episode_000001") if has_cameras else PLAIN_NAMES
        write_tables(self._tables, num_frames=5 if has_cameras else NUM_FRAMES, names=names)
        for path in (self._before, self._folder):
            shutil.rmtree(path, ignore_errors=True)
        flags = VARIANTS["wds-cameras" if has_cameras else "wds-stride-columns"]
        flags = flags if has_cameras else flags[: flags.index("--columns")]
        if start == "with columns":
            flags = [*flags, "--columns", f"{self._tables}/videos.csv"]
        built = server.run("--videos", videos, "--out", self.output, *flags)
        assert built.returncode == 0, built.stderr
        self._old = digests(self.output)
        self._folder.rename(self._before)
        self._reset()
        undisturbed = self._add()
        assert undisturbed.returncode == 0, undisturbed.stderr
        self.changes = undisturbed.changes
        """What an undisturbed call changes, in order: fault number n hits number n of these."""
        self._new = digests(self.output)
        assert verify_store(self.output).problems == []

    def problems(self, fault: Fault, *, kill_after: float | None = None) -> list[str]:
        """The promises that were broken; empty if none was. The process is killed after `kill_after` seconds."""
        self._reset()
        first = self._add(fault=fault, kill_after=kill_after)
        may_be_killed = fault.action == "kill" or kill_after is not None
        found = problems_of_end(first, may_be_killed=may_be_killed)
        left = digests(self.output)
        if left not in (self._old, self._new):
            found += problems_between_versions(self.output, left, [self._old, self._new])
        if first.returncode == 0 and left != self._new:
            found.append("exit code 0, and the columns are not in the cache")
        second = self._add()
        if second.returncode != 0:
            found.append(f"the same command ended with {second.returncode}: {second.stderr}")
        elif digests(self.output) != self._new:
            found.append("the same command did not end in the bytes of an undisturbed one")
        known = {self.output.name + suffix for suffix in ("", ".lock", ".scan", ".report.json")}
        if strange := {path.name for path in self._folder.iterdir()} - known:
            found.append(f"files that were not removed: {sorted(strange)}")
        return found

    def _add(self, *, fault: Fault | None = None, kill_after: float | None = None) -> Ended:
        table = self._tables / "frames.csv"
        flags = ("--columns", table, "--columns-missing", "mask", "--out", self.output)
        return self._server.run(*flags, fault=fault, kill_after=kill_after)

    def _reset(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._before, self._folder)


def problems_between_versions(
    output: Path, left: dict[str, str] | None, complete: list[dict[str, str]]
) -> list[str]:
    """What is wrong with a cache that has files beside those of a version: a folder of columns not yet named."""
    if left is None or not any(
        version.items() <= left.items()
        and all(name.startswith("columns-") for name in left.keys() - version.keys())
        for version in complete
    ):
        return ["what is at the output is neither what was there nor the finished cache"]
    try:
        len(open_store(output).columns)
        return [f"verify: {problem}" for problem in verify_store(output).problems]
    except StoreError as error:
        return [f"the cache cannot be opened: {error}"]


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
