"""A damaged content order made again from the payloads of the cache."""

import numpy as np

from cache_builder.content_order.making import made_order
from cache_builder.errors import RepairError
from cache_builder.progress import Progress
from cache_builder.stages import Workspace
from frame_store.content_order import METHOD
from frame_store.files import publish_folder, sync_tree
from frame_store.manifest import CacheTree, ContentOrderEntry, FileEntry
from frame_store.protocol import FrameStore
from frame_store.reader import CacheStore
from frame_store.verify import check_file
from frame_store.views import select


def repaired_content_order(
    tree: CacheTree, entry: ContentOrderEntry, *, workspace: Workspace, progress: Progress
) -> list[FileEntry]:
    """Make a content order of a cache again if its file is damaged; the frames of the cache are intact.

    `tree` is that of its first camera. Returns the file if it was damaged. The caller holds the lock of the workspace.

    Raises:
        RepairError: a method that this release does not have made the order, or the new file has another hash than the
            recorded one.
        OSError: disk full or failing.
    """
    if not check_file(tree.store_path, entry.file):
        return []
    place, renew = tree.store_path / entry.file.name, f"cache-bias {tree.store_path} --write-order"
    if entry.method != METHOD:
        raise RepairError(
            f"{place}: is damaged; the method {entry.method!r} made it, and this release has {METHOD!r} alone; "
            f"{renew} writes an order by that"
        )
    workspace.clear_content()
    try:
        with CacheStore.of_tree(tree) as store:
            made = made_order(_frames_of(store, entry), workspace.made_content, progress=progress)
        if made.entry.sha256 != entry.sha256:
            raise RepairError(
                f"{place}: is damaged; the order made again has another hash than the recorded one (another "
                f"decoder of the payloads?); nothing was replaced; {renew} writes the new order"
            )
        sync_tree(workspace.made_content)
        publish_folder(workspace.made_content, tree.store_path / entry.folder)
    finally:
        workspace.clear_content()
    return [entry.file]


def _frames_of(store: CacheStore, entry: ContentOrderEntry) -> FrameStore:
    """The frames that an order has, under ids that count from the first of them."""
    if entry.num_frames == len(store):
        return store
    return select(store, ids=np.arange(entry.first_frame, entry.first_frame + entry.num_frames))
