"""Generations in the making, by a build and by an append: files decoded, videos settled, shards and tables written."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cache_builder.build.gather_stage import Gathered, entries_of, gather
from cache_builder.build.task import BuildTask
from cache_builder.errors import MachineError, VideoChangedError, VideosNotWholeError
from cache_builder.executors import Executor
from cache_builder.folder_scan import forget_scans
from cache_builder.inputs import Settled
from cache_builder.progress import Progress
from cache_builder.settings import RunOptions
from cache_builder.sources import EpisodeSpan
from cache_builder.stages import DecodeResult, DecodeStage, Workspace
from frame_store.manifest import EncodingName

_SHARE_OF_RAW: Final[dict[EncodingName, tuple[float, float]]] = {
    "raw": (1.0, 1.0),
    "jpeg": (0.007, 0.12),
    "zstd": (0.0, 0.6),
}
"""Of the bytes of the pixels, at least and typically. JPEG: a flat frame, and real clips at quality 95."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Making:
    """The stages from scanned files to generations, in the workspace of one output."""

    workspace: Workspace
    options: RunOptions
    pool: Executor[Any, Any]
    progress: Progress

    def decoded(
        self, task: BuildTask, *, episodes: Mapping[int, Sequence[tuple[str, EpisodeSpan]]]
    ) -> tuple[DecodeResult, BuildTask]:
        """Decode the files of a task, and the task without files that had changed since their scan.

        `episodes` has name and span of what is cut out of each file that holds several videos.

        Raises:
            VideosNotWholeError: a video is not whole and the policy is `fail`.
            MachineError: disk full, I/O error.
        """
        inputs, workspace = task.inputs, self.workspace
        self.progress.start("decode", inputs.num_packets, "frames")
        stage = DecodeStage(
            self.pool,
            files=inputs.files,
            spill=workspace.spill_place,
            scans=inputs.scans,
            decoders=task.decoders,
            configs=task.configs_of_files,
            on_error=self.options.on_error,
            progress=self.progress.advance,
            episodes={file_id: [*of_file] for file_id, of_file in episodes.items()},
        )
        try:
            decoded = stage.run()
        except VideosNotWholeError as error:
            if isinstance(error.__cause__, VideoChangedError):
                forget_scans(workspace.scan_cache, [error.__cause__.path])
            raise
        # The fingerprint must not claim that the cache holds these videos as they were when they were scanned.
        changed = [video for video in decoded.videos if isinstance(video, VideoChangedError)]
        if changed:
            forget_scans(workspace.scan_cache, [error.path for error in changed])
            task = replace(task, inputs=inputs.changed(decoded.videos))
        return decoded, task

    def gathered(
        self, task: BuildTask, videos: list[list[Settled]], unit_names: list[str]
    ) -> dict[str | None, Gathered]:
        """Write the generation of each camera into `workspace.cache`; nothing is synced but shards."""
        workspace, parts = self.workspace, task.inputs.parts
        entries = [entries_of(of_part) for of_part in videos]
        total = sum(entry.num_frames_stored for of_part in entries for entry in of_part)
        self.progress.start("gather", total, "frames")
        workspace.clear_what_follows_shards()
        gathered: dict[str | None, Gathered] = {}
        for number, (camera, digest) in enumerate(zip(parts, task.fingerprints(), strict=True)):
            gathered[camera] = gather(
                self.pool,
                places=workspace.places if camera is None else workspace.places_of_camera(number),
                config=task.configs[number],
                videos=videos[number],
                entries=entries[number],
                unit_names=unit_names,
                decoders=task.decoders,
                fingerprint=digest,
                progress=self.progress,
            )
        return gathered

    def require_space(self, task: BuildTask) -> None:
        """Refuse a build that cannot fit on the disk, and note that it may not fit: spill and cache exist together.

        How well pixels compress is not known before they are compressed, so a typical size gives a note, not an error.
        """
        if any(config.fps is not None for config in task.configs):
            return  # the number of frames is not known before decoding
        least = typical = 0.0
        for file, config in enumerate(task.configs_of_files):
            num_bytes = task.num_frames_at_most(file) / config.stride * config.frame_bytes
            least_share, typical_share = _SHARE_OF_RAW[config.encoding.name]
            least, typical = least + num_bytes * least_share, typical + num_bytes * typical_share
        spilled = self.workspace.num_bytes_unfinished
        for folder, times in self.workspace.disk_needs:
            self._require_space_in(folder, times * least - spilled, times * typical - spilled, times=times)

    def _require_space_in(self, folder: Path, least: float, typical: float, *, times: int) -> None:
        title = self.workspace.title
        free = shutil.disk_usage(folder).free
        what = (
            "the cache and as much again while building"
            if times > 1
            else f"as much as the cache, in {folder}"
        )
        text = f"({what}), {_size_text(free)} are free"
        if free < least:
            raise MachineError(f"{title}: at least {_size_text(least)} are needed {text}")
        if free < typical:
            self.progress.note(
                f"{title}: about {_size_text(typical)} may be needed {text}; "
                "if the disk gets full, make room and run the same command again"
            )


def _size_text(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
