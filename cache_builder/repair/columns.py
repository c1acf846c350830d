"""Damaged columns of a data set made again: no video has them, and the data set does."""

from collections.abc import Mapping
from itertools import islice

from cache_builder.columns import columns_cannot_be_made, read_dataset, write_dataset_columns
from cache_builder.errors import ColumnsError
from cache_builder.sources import Sources, look_into
from cache_builder.stages import Workspace
from frame_store.column_files import read_columns_record
from frame_store.errors import StoreError
from frame_store.files import publish_folder, sync_tree
from frame_store.manifest import CacheTree, ColumnsEntry, FileEntry, JsonValue, describe_file
from frame_store.names import COLUMNS_NAME
from frame_store.reader import CacheStore
from frame_store.source_order import SourceOrder
from frame_store.verify import check_columns, check_file


def repaired_columns(
    tree: CacheTree, entry: ColumnsEntry, *, sources: Sources | None, workspace: Workspace
) -> list[FileEntry]:
    """Make some columns of a cache again from the data set that it was built from; all its other files are intact.

    `tree` is that of its first camera. Returns the files that were damaged.

    Raises:
        RepairError: the columns are damaged, and the sources are no data set, or its columns are not those of the
            cache, such as columns that were added later.
        OSError: disk full or failing.
    """
    problems = list(check_columns(tree.store_path, tree.manifest, tree=tree, only=entry))
    if not problems:
        return []
    refusal = columns_cannot_be_made(tree, problems)
    dataset = None if sources is None else read_dataset(look_into(sources))
    first, end = entry.first_video, entry.first_video + entry.num_videos
    fingerprint = tree.fingerprint_of_videos(first, entry.num_videos)
    if dataset is None or fingerprint is None:
        raise refusal
    workspace.clear_columns()
    try:
        made = write_dataset_columns(
            dataset,
            videos=list(islice(tree.stream_videos(), first, end)),
            source_order=_order_of_videos(tree, first, end),
            fingerprint=fingerprint,
            cache=workspace.columns,
            scratch=workspace.made_columns,
            first_video=first,
            recorded=_recorded(tree, entry),
        )
        if made != entry:
            raise refusal
        folder = workspace.columns / made.folder
        record = read_columns_record(workspace.columns, made)
        files = [describe_file(folder, COLUMNS_NAME), *record.files]
        broken = [
            file.inside(made.folder)
            for file in files
            if check_file(tree.store_path, file.inside(made.folder))
        ]
        sync_tree(folder)
        publish_folder(folder, tree.store_path / made.folder)
    except ColumnsError as error:
        raise refusal from error
    finally:
        workspace.clear_columns()
    return broken


def _recorded(tree: CacheTree, entry: ColumnsEntry) -> Mapping[str, JsonValue] | None:
    """What the data set, which may have grown, stated when the columns were written; None where that is damaged."""
    try:
        return read_columns_record(tree.store_path, entry).dataset
    except StoreError:
        return None


def _order_of_videos(tree: CacheTree, first: int, end: int) -> SourceOrder:
    """What columns need of the source order of videos [first, end): their decoded frames and the pts of these."""
    with CacheStore.of_tree(tree) as store:
        order = store.source_order
        first_row = order.first_row[first : end + 1]
        rows = slice(int(first_row[0]), int(first_row[-1]))
        return SourceOrder(
            first_row=first_row - first_row[0],
            first_stored=first_row - first_row[0],
            source_pts=None if order.source_pts is None else order.source_pts[rows],
        )
