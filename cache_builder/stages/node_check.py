"""Finds out whether a node of a cluster gives what this machine gives, and sees the same files."""

import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from cache_builder.executors import JobLimits, RayChoice, RayExecutor
from cache_builder.gpu import DecoderChoice
from cache_builder.jobs import UnitJob, UnitSpill
from cache_builder.plan import plan_units
from cache_builder.progress import Progress
from cache_builder.settings import BuildConfig, RunOptions
from cache_builder.sources import SourceVideo
from cache_builder.stages.identity import library_versions
from cache_builder.stages.node_places import NodeTokens, SeenFile, SeenObject, SeenVideo, smallest_videos
from cache_builder.video.picture import FrameGeometry
from cache_builder.video.scan import scan_video

_SECONDS: Final = 120.0
_CLIP_SHAPE: Final = (12, 48, 64, 3)
"""Frames, height, width, colours of the clip that every node decodes."""


class NodeCheckJob(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Compare a node with the machine that made the job."""

    versions: dict[str, str]
    """`library_versions` of that machine."""
    clip: bytes
    """A small video."""
    stored_sha256: str
    """Of the clip's frames as that machine stores them, one after the other."""
    files: list[SeenFile]
    folders: list[Path]
    """Into which the jobs write."""
    objects: list[SeenObject] = []
    videos: list[SeenVideo] = []

    @property
    def limits(self) -> JobLimits:
        """A disk that does not answer is a difference, too."""
        return JobLimits(seconds=_SECONDS)

    def run(self) -> list[str]:
        """How this node differs; empty if it does not."""
        found = library_versions(DecoderChoice())
        differences = [
            f"has {name} {found.get(name)}, this machine {version}"
            for name, version in self.versions.items()
            if found.get(name) != version
        ]
        if stored_digest(self.clip) != self.stored_sha256:
            differences.append("stores other bytes of the same video than this machine")
        places: list[SeenFile | SeenObject | SeenVideo] = [*self.files, *self.objects, *self.videos]
        for place in places:
            differences += [line for line in place.differences() if line not in differences]
        differences += [
            f"cannot write into {folder}"
            for folder in self.folders
            if not os.access(folder, os.W_OK | os.X_OK)
        ]
        return differences


def cluster_executor(
    choice: RayChoice,
    *,
    options: RunOptions,
    tokens: NodeTokens,
    videos: Sequence[SourceVideo],
    progress: Progress,
) -> RayExecutor[Any, Any]:
    """What runs the jobs of a build in a cluster. It joins or starts one when there is a job."""
    return RayExecutor(
        choice,
        check=lambda: make_node_check(tokens=tokens, videos=videos),
        at_most=options.most_in_cluster,
        tell=progress.note,
    )


def make_node_check(*, tokens: NodeTokens, videos: Iterable[SourceVideo]) -> NodeCheckJob:
    """The check of a build. It writes `tokens`, and the smallest video of each file system or store is looked at, too.

    Raises:
        OSError: a token cannot be written.
        ObjectStoreError: a store cannot be reached.
    """
    files, objects = tokens.write()
    video_files, video_objects = smallest_videos(videos)
    clip = encoded_clip()
    return NodeCheckJob(
        versions=library_versions(DecoderChoice()),
        clip=clip,
        stored_sha256=stored_digest(clip),
        files=[*files, *video_files],
        folders=tokens.folders,
        objects=objects,
        videos=video_objects,
    )


def encoded_clip() -> bytes:
    """A small video, made by formula."""
    import av

    num_frames, height, width, _ = _CLIP_SHAPE
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=12)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count = 1
        rows, columns, colours = np.indices((height, width, 3))
        for number in range(num_frames):
            pixels = (rows * 5 + columns * 3 + colours * 60 + number * 20) % 256
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels.astype(np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    return target.getvalue()


def stored_digest(clip: bytes) -> str:
    """SHA-256 of the clip's frames as this machine stores them."""
    _, height, width, _ = _CLIP_SHAPE
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "clip.mp4"
        path.write_bytes(clip)
        scan = scan_video(path, path.name)
        digest = hashlib.sha256()
        for unit in plan_units([scan]):
            job = UnitJob(
                path=path,
                scan=scan,
                unit=unit,
                first_ordinal=unit.first_packet,
                config=BuildConfig(geometry=FrameGeometry(height=height, width=width)),
                spill=folder,
            )
            job.run()
            digest.update(UnitSpill(folder, job.spill_name).frames_path.read_bytes())
    return digest.hexdigest()
