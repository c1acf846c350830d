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
from cache_builder.stages.workspace import NODES_NAME, ScratchObjects, Workspace
from cache_builder.video.picture import FrameGeometry
from cache_builder.video.scan import scan_video
from frame_store.errors import ObjectStoreError
from frame_store.files import write_file
from frame_store.remote import ObjectClient

_SECONDS: Final = 120.0
_CLIP_SHAPE: Final = (12, 48, 64, 3)
"""Frames, height, width, colours of the clip that every node decodes."""
_TOKEN_BYTES: Final = 32


class SeenFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that every node must see under the same path."""

    path: Path
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "SeenFile":
        """The file as this machine sees it.

        Raises:
            OSError: it cannot be read.
        """
        return cls(path=path, sha256=_sha256_of(path))


class SeenObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object that every node must be able to read."""

    client: ObjectClient
    key: str
    sha256: str

    def differences(self) -> list[str]:
        """How it differs where this runs; empty if it does not."""
        name = self.client.url.object_text(self.key)
        try:
            content = self.client.get(self.key, max_bytes=_TOKEN_BYTES)
        except ObjectStoreError as error:
            return [f"cannot read what this machine has put into the object store: {error}"]
        is_same = hashlib.sha256(content).hexdigest() == self.sha256
        return [] if is_same else [f"has another object at {name} than this machine"]


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
    objects: list["SeenObject"] = []

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
        for file in self.files:
            try:
                if _sha256_of(file.path) != file.sha256:
                    differences.append(f"has another file at {file.path} than this machine")
            except OSError as error:
                differences.append(f"cannot read {file.path} ({error.strerror}), which this machine can")
        differences += [
            f"cannot write into {folder}"
            for folder in self.folders
            if not os.access(folder, os.W_OK | os.X_OK)
        ]
        return [*differences, *(line for seen in self.objects for line in seen.differences())]


def cluster_executor(
    choice: RayChoice,
    *,
    options: RunOptions,
    workspace: Workspace,
    videos: Sequence[SourceVideo],
    progress: Progress,
) -> RayExecutor[Any, Any]:
    """What runs the jobs of a build in a cluster. It joins or starts one when there is a job."""
    return RayExecutor(
        choice,
        check=lambda: make_node_check(tokens=workspace.node_tokens, videos=videos, scratch=workspace.scratch),
        at_most=options.most_in_cluster,
        tell=progress.note,
    )


def make_node_check(
    *, tokens: Sequence[Path], videos: Iterable[SourceVideo], scratch: ScratchObjects | None = None
) -> NodeCheckJob:
    """The check of a build. It writes random bytes to `tokens`, in the folders that every node must see.

    The smallest video of each folder is read on every node, too, and an object of the scratch where that is in a store.

    Raises:
        OSError: a token cannot be written.
        ObjectStoreError: the store cannot be reached.
    """
    content = os.urandom(_TOKEN_BYTES)
    for token in tokens:
        write_file(token, content)
    objects = []
    if scratch is not None:
        scratch.client.put(NODES_NAME, content)
        objects.append(
            SeenObject(client=scratch.client, key=NODES_NAME, sha256=hashlib.sha256(content).hexdigest())
        )
    clip = encoded_clip()
    return NodeCheckJob(
        versions=library_versions(DecoderChoice()),
        clip=clip,
        stored_sha256=stored_digest(clip),
        files=[*(SeenFile.of(token) for token in tokens), *_smallest_of_folders(videos)],
        folders=[token.parent for token in tokens],
        objects=objects,
    )


def _smallest_of_folders(videos: Iterable[SourceVideo]) -> list[SeenFile]:
    """One video of each file system that holds some; those that cannot be read are for the scan to report."""
    smallest: dict[int, tuple[int, Path]] = {}
    for path in dict.fromkeys(video.path for video in videos):
        try:
            status = path.stat()
        except OSError:
            continue
        found = (status.st_size, path)
        smallest[status.st_dev] = min(found, smallest.get(status.st_dev, found))
    seen = []
    for _, path in smallest.values():
        try:
            seen.append(SeenFile.of(path))
        except OSError:
            continue
    return seen


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


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
