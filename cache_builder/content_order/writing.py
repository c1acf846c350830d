"""`write_content_order`: an order of a complete cache's frames by content. No video is read, and no file is changed.

The order is written into a folder beside the cache, synced, and renamed to `content-<hash>/` inside it. Then a new
version of the manifest names the folder; it is created, never replaced. Until then the cache is complete in its old
version, whatever happens.
"""

import errno
import os
from pathlib import Path

from cache_builder.content_order.making import MadeOrder, counting_store, made_order
from cache_builder.content_order.report import ContentOrderReport, OrderStatus
from cache_builder.errors import MachineError, OutputError
from cache_builder.progress import NoProgress, Progress
from cache_builder.stages import Workspace, commit_manifest, local_path, resolved
from frame_store.content_order import METHOD
from frame_store.files import publish_folder, sync_tree
from frame_store.manifest import ContentOrderEntry, next_manifest
from frame_store.reader import CacheStore
from frame_store.shared import without_controls
from frame_store.verify import check_file


def write_content_order(cache: Path | str, *, progress: Progress | None = None) -> ContentOrderReport:
    """Order the frames of a complete cache by content, for samplers that spread batches over it.

    Every stored frame is read and decoded, and nothing else: no video is needed. In the order, neighbours look alike.
    The same bytes come on every machine whose decoder of the payloads gives the same pixels, whether the build or a
    later call writes them. The order is no part of the cache's fingerprint. Of a cache of cameras, the pixels of the
    first camera count. Where the cache has grown, all its frames are ordered anew, as one. An intact order of all
    frames that the cache has already, by the same method, is left as it is. Memory: some 80 bytes a frame.

    Args:
        cache: path of the cache.
        progress: receives what is done; None for silence.

    Returns:
        What was done, with the seconds of reading and of ordering.

    Raises:
        StoreError: no cache at this path, or a payload is damaged.
        OutputError: another process writes to the cache, or it cannot be written.
        MachineError: disk full, I/O error. The same call goes on.
    """
    progress = progress or NoProgress()
    output = local_path(cache)
    try:
        output = resolved(counting_store(output).path)
        workspace = Workspace(output)
        remedy = "copy the cache to a place that can be, and write the order there"
        # The manifest is read again, now that nobody else writes one.
        with workspace.locked(if_not_writable=remedy), counting_store(output) as store:
            existing = _intact_order(store)
            if existing is not None:
                return _report(store, existing, "already complete")
            if not os.access(output, os.W_OK | os.X_OK):  # before minutes of reading
                raise OutputError(f"{output}: cannot be written; {remedy}")
            workspace.clear_content()
            try:
                return _written(store, workspace, progress=progress)
            finally:
                workspace.clear_content()
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise OutputError(
                f"{output}: is mounted by itself, and a finished order cannot be moved into it from beside it; mount "
                "the folder that holds the cache, or copy the cache"
            ) from error
        raise MachineError(
            f"{error.filename or cache}: {error.strerror or error}; the same command resumes"
        ) from error


def _intact_order(store: CacheStore) -> ContentOrderEntry | None:
    """The one order of all frames that the cache has by this method, with every byte; None where it has none.

    Orders of several generations, one after another, are none.
    """
    entries = store.manifest.content_orders
    if len(entries) == 1 and entries[0].method == METHOD and not check_file(store.path, entries[0].file):
        return entries[0]
    return None


def _written(store: CacheStore, workspace: Workspace, *, progress: Progress) -> ContentOrderReport:
    made = made_order(store, workspace.made_content, progress=progress)
    is_named = made.entry in store.manifest.content_orders
    if check_file(store.path, made.entry.file):  # else a killed process has left the folder
        sync_tree(workspace.made_content)
        publish_folder(workspace.made_content, store.path / made.entry.folder)
    if not is_named:
        manifest = next_manifest(store.manifest, content_orders=[made.entry])
        commit_manifest(store.path, manifest, scratch=workspace.content)
    return _report(store, made.entry, "restored" if is_named else "written", made)


def _report(
    store: CacheStore, entry: ContentOrderEntry, status: OrderStatus, made: MadeOrder | None = None
) -> ContentOrderReport:
    return ContentOrderReport(
        output=without_controls(str(store.path)),
        status=status,
        folder=entry.folder,
        method=entry.method,
        num_frames=len(store),
        num_frames_read=0 if made is None else made.num_frames_read,
        num_bytes=entry.num_bytes,
        seconds_reading=0.0 if made is None else made.seconds_reading,
        seconds_ordering=0.0 if made is None else made.seconds_ordering,
    )
