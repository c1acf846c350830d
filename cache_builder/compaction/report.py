"""What a compaction did, or would do."""

from collections.abc import Sequence

import msgspec

from cache_builder.compaction.joins import Join
from cache_builder.compaction.removal import KeptFolder, RemovedFolder
from frame_store.manifest import many_generations_hint
from frame_store.shared import counted, counted_in_groups, without_controls


class JoinSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A run of generations of a cache, or of a camera, that is joined."""

    camera: str | None
    generations: list[str]
    """Folders of the generations, inside the cache."""
    first_generation: int
    """Number of the first one."""
    folder: str
    """Of the joined generation, inside the cache."""
    num_frames: int
    num_bytes: int
    """Of the files of the generations, which are copied."""
    num_shards_before: int
    num_shards: int

    @classmethod
    def of(cls, join: Join) -> "JoinSummary":
        """The summary of a join."""
        return cls(
            camera=join.camera,
            generations=[source.folder for source in join.sources],
            first_generation=join.tree.generations.index(join.sources[0]),
            folder=join.folder,
            num_frames=join.num_frames,
            num_bytes=join.num_bytes,
            num_shards_before=sum(len(source.generation.shards) for source in join.sources),
            num_shards=len(join.shard_sizes),
        )


class CompactionReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `compact_cache` did; with `dry_run`, what it would do."""

    output: str
    is_dry_run: bool
    num_generations_before: int
    num_generations: int
    """Afterwards; of a cache of cameras, of each camera."""
    joins: list[JoinSummary]
    """In the order of their frames, camera by camera."""
    seconds: float
    removed: list[RemovedFolder]
    in_use: list[KeptFolder]
    """Superseded folders that were to be removed and stay."""
    superseded: list[RemovedFolder]
    """Folders that are in the cache now, and that the newest manifest does not name; those of `in_use` among them."""

    @property
    def num_bytes_copied(self) -> int:
        """Bytes of the generations that are joined, of all cameras."""
        return sum(join.num_bytes for join in self.joins)


def compaction_lines(report: CompactionReport) -> list[str]:
    """The report for a terminal."""
    name = without_controls(report.output)
    lines = []
    for join in report.joins:
        last = join.first_generation + len(join.generations) - 1
        of_camera = "" if join.camera is None else f" of camera {without_controls(join.camera)}"
        were = "would be" if report.is_dry_run else "were"
        lines.append(
            f"generations {join.first_generation} to {last}{of_camera} {were} joined: "
            f"{counted_in_groups(join.num_frames, 'frame')}, {counted_in_groups(join.num_bytes, 'byte')}, "
            f"{join.num_shards_before} -> {counted(join.num_shards, 'shard')}, {join.folder}"
        )
    if report.joins:
        took = ""
        if not report.is_dry_run and report.seconds > 0:
            took = f" in {report.seconds:.1f} s, {report.num_bytes_copied / report.seconds / 1e6:.0f} MB/s"
        lines.append(
            f"{name}: {report.num_generations_before} -> {counted(report.num_generations, 'generation')}, "
            f"{counted_in_groups(report.num_bytes_copied, 'byte')} copied{took}"
        )
    else:
        lines.append(f"{name}: {counted(report.num_generations, 'generation')}, none to join")
    lines += [
        f"{each.folder}: removed, {counted_in_groups(each.num_bytes, 'byte')}" for each in report.removed
    ]
    lines += [f"{each.folder}: kept, {each.reason}" for each in report.in_use]
    if report.removed:
        lines.append(
            f"{name}: {counted(len(report.removed), 'folder')} removed, "
            f"{counted_in_groups(_num_bytes(report.removed), 'byte')} freed"
        )
    if report.superseded and not report.in_use:
        lines.append(
            f"{name}: {counted(len(report.superseded), 'superseded folder')} with "
            f"{counted_in_groups(_num_bytes(report.superseded), 'byte')}; "
            f"cache-compact --remove-superseded removes what no reader has open"
        )
    if (hint := many_generations_hint(report.num_generations)) is not None:
        lines.append(f"{name}: {hint}")
    return lines


def _num_bytes(folders: Sequence[RemovedFolder]) -> int:
    return sum(folder.num_bytes for folder in folders)
