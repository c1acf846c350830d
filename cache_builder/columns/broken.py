"""Columns of a cache whose files are damaged."""

from collections.abc import Sequence

from cache_builder.errors import RepairError
from frame_store.manifest import CacheTree
from frame_store.shared import listed


def columns_cannot_be_made(tree: CacheTree, problems: Sequence[str]) -> RepairError:
    """The error for damaged columns, which no video has. `problems` are those of `frame_store.verify.check_columns`."""
    return RepairError(
        listed(
            f"{tree.store_path}: columns are damaged, and no video has them (other files have their recorded hashes)",
            problems,
            "give the tables that they came from, and the same bytes are written again: "
            f"cache-build --columns TABLE --out {tree.store_path}",
        )
    )
