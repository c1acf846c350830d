"""Every byte of a cache in a folder, file by file, and its frames through other libraries."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np

from frame_store.manifest import CacheManifest, CacheTree, CameraEntry, read_manifest
from frame_store.notebook import items, output, paragraphs
from frame_store.shared import counted
from frame_store.source_order import Int64s
from frame_store.verify.cameras import find_camera_problems
from frame_store.verify.columns import check_columns, column_file_names
from frame_store.verify.content_order import check_content_orders
from frame_store.verify.files import EntriesBelow, extra_entries
from frame_store.verify.generation import CheckedGeneration, ShardsAtHand, all_at_hand, open_generation
from frame_store.verify.versions import find_path_problems, find_version_problems


class VerifyResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify_store` found; the cache is sound if `problems` is empty."""

    path: str
    num_frames_checked: int
    num_files_checked: int
    problems: list[str]
    """One line each, with the file and, where it is known, the frame."""
    notes: list[str]
    """Files and folders that are not part of the cache and that no reader opens, such as an editor's backup."""
    num_bytes_read: int | None = None
    """Bytes that were asked of an object store; None for a cache on this machine."""

    @property
    def summary(self) -> str:
        """One line for a terminal."""
        verdict = "sound" if not self.problems else counted(len(self.problems), "problem")
        frames, files = counted(self.num_frames_checked, "frame"), counted(self.num_files_checked, "file")
        read = (
            "" if self.num_bytes_read is None else f"; {self.num_bytes_read / 1e6:.1f} MB read from the store"
        )
        return f"{self.path}: {verdict} ({frames} in {files} checked{read})"

    def _repr_html_(self) -> str:
        """What IPython shows: the summary, and the first problems and notes. Never raises."""
        return output(
            self,
            lambda: [
                paragraphs([self.summary]),
                items("Problems", self.problems),
                items("Notes", self.notes),
            ],
        )


def verify_folder(
    store_path: Path,
    *,
    name: str,
    progress: Callable[[int], None],
    begin: Callable[[int], None],
    at_hand: ShardsAtHand = all_at_hand,
    entries_below: EntriesBelow | None = None,
) -> VerifyResult:
    """As `verify_store`, of a folder whose shards `at_hand` brings. `name` is that of the cache in the result."""
    manifest = read_manifest(store_path)
    begin(manifest.num_frames * max(1, len(manifest.cameras)))
    cameras: Sequence[CameraEntry | None] = manifest.cameras or [None]
    opened = [
        [
            open_generation(store_path, manifest, camera, number)
            for number in range(len(manifest.counted_generations))
        ]
        for camera in cameras
    ]
    checked = [each for each in chain.from_iterable(opened) if isinstance(each, CheckedGeneration)]
    problems = [each for each in chain.from_iterable(opened) if isinstance(each, str)]
    if not checked:
        return _unread(name, problems)
    trees = [_tree_of(store_path, manifest, generations) for generations in opened]
    whole = trees[0]
    shared_files = sorted(
        {*column_file_names(store_path, manifest), *(entry.file.name for entry in manifest.content_orders)}
    )
    extra = list(
        extra_entries(
            store_path,
            manifest,
            [each.tree for each in checked],
            shared_files=shared_files,
            unread=_unread_folders(manifest, opened),
            entries_below=entries_below,
        )
    )
    problems += [
        *find_version_problems(store_path, manifest, trees),
        *(entry.line for entry in extra if not entry.is_harmless),
    ]
    for each in checked:
        problems += each.problems_beside_shards()
    if not problems:
        problems += _problems_of_cameras(opened)
        problems += find_path_problems(
            manifest, [each for each in opened[0] if isinstance(each, CheckedGeneration)]
        )
    problems += check_columns(store_path, manifest, tree=whole, first_row=_first_rows(opened[0]))
    problems += check_content_orders(store_path, manifest, tree=whole)
    samples = not problems
    for each in checked:
        problems += each.problems_of_shards(at_hand, progress, samples=samples)
    return VerifyResult(
        path=name,
        num_frames_checked=sum(len(each.store) for each in checked),
        # The manifests and `generation.json` list the other files, and are checked by their digests.
        num_files_checked=manifest.version + 1 + len(shared_files) + sum(each.num_files for each in checked),
        problems=problems,
        notes=[entry.line for entry in extra if entry.is_harmless],
    )


_Opened = Sequence[CheckedGeneration | str]
"""The generations of a camera, or of a cache without cameras; a text for one that cannot be opened."""


def _unread(name: str, problems: list[str]) -> VerifyResult:
    """The result for a cache whose frames cannot be checked."""
    return VerifyResult(path=name, num_frames_checked=0, num_files_checked=0, problems=problems, notes=[])


def _tree_of(store_path: Path, manifest: CacheManifest, opened: _Opened) -> CacheTree | None:
    """All generations of a camera together; None where one cannot be opened.

    Raises:
        StoreFormatError: they do not agree.
    """
    trees = tuple(each.tree for each in opened if isinstance(each, CheckedGeneration))
    if len(trees) < len(opened):
        return None
    return CacheTree(store_path=store_path, manifest=manifest, generations=trees, camera=trees[0].camera)


def _unread_folders(manifest: CacheManifest, opened: Sequence[_Opened]) -> list[str]:
    """Folders of generations that cannot be read, of which nobody knows what they hold."""
    folders = []
    cameras: Sequence[CameraEntry | None] = manifest.cameras or [None]
    for camera, generations in zip(cameras, opened, strict=True):
        entries = manifest.generations if camera is None else camera.generations
        inside = "" if camera is None else f"{camera.folder}/"
        folders += [
            inside + entry.folder
            for entry, each in zip(entries, generations, strict=True)
            if isinstance(each, str)
        ]
    return folders


def _problems_of_cameras(opened: Sequence[_Opened]) -> Iterator[str]:
    """What differs between the cameras; they have all been opened."""
    for number in range(len(opened[0]) if len(opened) > 1 else 0):
        together = [each for camera in opened if isinstance(each := camera[number], CheckedGeneration)]
        yield from find_camera_problems([each.store for each in together], [each.videos for each in together])


def _first_rows(opened: _Opened) -> Int64s | None:
    """Decoded frames before each video of the cache, and of all; None where a table of videos cannot be read."""
    tables = [each.videos for each in opened if isinstance(each, CheckedGeneration)]
    if len(tables) < len(opened) or any(table is None for table in tables):
        return None
    counts = [video.num_frames_decoded for table in tables for video in table or ()]
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
