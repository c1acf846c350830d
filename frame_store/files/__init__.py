"""Files of a store: opened without following links, published by a rename, fetched ahead of time, copied from maps."""

from frame_store.files.mapped_range import MappedRange
from frame_store.files.opening import OpenFile, open_inside, read_inside, require_plain_file
from frame_store.files.page_cache import is_cached, will_need
from frame_store.files.publishing import create_file, publish_folder, sync_path, sync_tree, write_file
from frame_store.files.streamed_rows import gather_streaming

__all__ = [
    "MappedRange",
    "OpenFile",
    "create_file",
    "gather_streaming",
    "is_cached",
    "open_inside",
    "publish_folder",
    "read_inside",
    "require_plain_file",
    "sync_path",
    "sync_tree",
    "will_need",
    "write_file",
]
