"""The open shards of a cache: a bounded table of files, checked against `generation.json`."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from frame_store.errors import StoreDamagedError
from frame_store.files import OpenFile, require_plain_file
from frame_store.manifest import CacheTree
from frame_store.shared import counted, descriptor_limit, is_out_of_files, num_files_to_keep, without_controls

MAX_OPEN_SHARDS = 256
"""File descriptors kept per store, fewer where the process may hold few (`num_files_to_keep`). Random reads from more
shards open some of them again and again."""


class ShardFiles:
    """A table of the most recently used shards, each checked for its size when it is opened. Threads may share it."""

    def __init__(self, tree: CacheTree) -> None:
        """Of all generations of a tree, one after another."""
        camera = tree.camera
        self._of_camera = "" if camera is None else f" of camera {without_controls(camera.name)!r}"
        store_path = self.store_path = tree.store_path
        self.shards = [shard for each in tree.generations for shard in each.generation.shards]
        self._names = [
            f"{each.folder}/{shard.name}" for each in tree.generations for shard in each.generation.shards
        ]
        self._paths = [str(store_path / name) for name in self._names]
        self._num_bytes = [shard.num_bytes for shard in self.shards]
        self._lock = threading.Lock()
        self._open: OrderedDict[int, OpenFile] = OrderedDict()

    def descriptor(self, shard_id: int, *, frame_id: int) -> OpenFile:
        """The open shard, which has the recorded size. Errors name `frame_id`, the frame wanted from it.

        Raises:
            StoreDamagedError: the shard is missing, a symbolic link, or of another size.
            OSError: no more files can be opened.
        """
        with self._lock:
            descriptor = self._open.get(shard_id)
            if descriptor is None:
                descriptor = self._open[shard_id] = self._open_shard(shard_id, frame_id)
                num_kept = num_files_to_keep(
                    len(self._open), newest_number=descriptor.number, at_most=MAX_OPEN_SHARDS
                )
                while len(self._open) > num_kept:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(shard_id)
            return descriptor

    def have_sizes(self, shard_ids: Iterable[int]) -> bool:
        """Whether all these shards are still there and have the recorded sizes."""
        paths, stat, fstat = self._paths, os.stat, os.fstat
        descriptors = self._open  # a look-up that moves nothing in the table needs no lock
        for shard_id in shard_ids:
            descriptor = descriptors.get(shard_id)
            try:
                # One call in both cases. Opening the shards that are not open would cost more.
                found = stat(paths[shard_id]) if descriptor is None else fstat(descriptor.number)
            except OSError:
                return False
            if found.st_size != self._num_bytes[shard_id] or not found.st_nlink:
                return False
        return True

    def require_size(self, shard_id: int, *, frame_id: int) -> None:
        """Check that the shard is still there and has the recorded size. Errors name `frame_id`.

        Raises:
            StoreDamagedError: the shard is missing, or of another size.
            OSError: no more files can be opened.
        """
        if not self.have_sizes([shard_id]):
            self._open_shard(shard_id, frame_id)  # raises an error with the cause, if it is still there

    def path(self, shard_id: int) -> Path:
        """Path of a shard."""
        return self.store_path / self._names[shard_id]

    def damaged(self, shard_id: int, frame_id: int, reason: str) -> StoreDamagedError:
        """The error to raise for a damaged frame of a shard, with the command to run."""
        return StoreDamagedError(
            f"{self.path(shard_id)}: frame {frame_id}{self._of_camera}: {reason}; run cache-verify on {self.store_path}"
        )

    def unread(self, shard_id: int, frame_id: int, error: OSError) -> OSError:
        """The error to raise for a frame that the machine cannot read, which is not a sign of damage."""
        reason = error.strerror
        if is_out_of_files(error):
            reason = f"{reason} (this process may hold {descriptor_limit()}: ulimit -n)"
        return OSError(error.errno, f"frame {frame_id}{self._of_camera}: {reason}", str(self.path(shard_id)))

    def _open_shard(self, shard_id: int, frame_id: int) -> OpenFile:
        while True:
            try:
                require_plain_file(self.store_path, self._names[shard_id])
                descriptor = OpenFile(self.path(shard_id))
            except OSError as error:
                if not is_out_of_files(error):
                    raise self.damaged(shard_id, frame_id, error.strerror or str(error)) from error
                try:
                    self._open.popitem(last=False)  # the rest of the process holds more than was left to it
                except KeyError:
                    raise self.unread(shard_id, frame_id, error) from error  # this is not damage
            else:
                break
        self._compare_size(shard_id, frame_id, os.fstat(descriptor.number).st_size)
        return descriptor

    def _compare_size(self, shard_id: int, frame_id: int, num_bytes: int) -> None:
        expected = self.shards[shard_id].num_bytes
        if num_bytes != expected:
            raise self.damaged(
                shard_id,
                frame_id,
                f"the shard is damaged: expected {counted(expected, 'byte')}, found {num_bytes}",
            )
