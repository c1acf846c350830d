"""Damaged columns of a data set made again: no video has them, and the data set does."""

from collections.abc import Sequence

from cache_builder.columns import columns_cannot_be_made, read_dataset, write_dataset_columns
from cache_builder.errors import ColumnsError
from cache_builder.sources import Sources, look_into
from cache_builder.stages import Workspace
from frame_store.column_files import read_columns_record
from frame_store.files import publish_folder, sync_tree
from frame_store.manifest import CacheTree, FileEntry, describe_file
from frame_store.names import COLUMNS_NAME
from frame_store.source_files import open_source_order
from frame_store.verify import check_file


def repaired_columns(
    tree: CacheTree, problems: Sequence[str], *, sources: Sources | None, workspace: Workspace
) -> list[FileEntry]:
    """Make the columns of a cache again from the data set that it was built from; all its other files are intact.

    `tree` is that of its first camera, `problems` are those of `check_columns`. Returns the files that were damaged.

    Raises:
        RepairError: the sources are no data set, or its columns are not those of the cache, such as columns that were
            added later.
        OSError: disk full or failing.
    """
    refusal = columns_cannot_be_made(tree, problems)
    dataset = None if sources is None else read_dataset(look_into(sources))
    if dataset is None:
        raise refusal
    workspace.clear_columns()
    try:
        made = write_dataset_columns(
            dataset,
            videos=tree.read_videos(),
            source_order=open_source_order(
                tree.generations[0].path,
                listed={file.name for file in tree.common.files},
                num_frames=tree.common.num_frames,
                num_videos=tree.common.num_videos,
                is_shuffled=tree.common.layout == "shuffled",
            ),
            generation=tree.common,
            cache=workspace.columns,
            scratch=workspace.made_columns,
        )
        if [made] != tree.manifest.columns:
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
