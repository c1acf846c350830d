"""Small functions that builder and loader both need, and that are not part of the format."""

from frame_store.shared.arguments import flag, user_path, whole_number
from frame_store.shared.cpu_budget import num_usable_cpus
from frame_store.shared.cuda_driver import (
    CUDA_LIBRARY,
    NVDEC_LIBRARY,
    CudaCallError,
    CudaDriver,
    load_library,
)
from frame_store.shared.cuda_guard import check_cuda_usable_here
from frame_store.shared.descriptors import (
    descriptor_limit,
    descriptor_share,
    further_descriptors,
    is_out_of_files,
    num_files_to_keep,
    raise_if_out_of_files,
)
from frame_store.shared.fork_lock import lock_free_after_fork
from frame_store.shared.imports import hidden_loader_text, lazy_names
from frame_store.shared.shard_balance import chi2_of_uniform_shards
from frame_store.shared.video_extensions import EXTENSIONS_TEXT, is_video_name
from frame_store.shared.wording import counted, counted_in_groups, listed, without_controls

__all__ = [
    "CUDA_LIBRARY",
    "EXTENSIONS_TEXT",
    "NVDEC_LIBRARY",
    "CudaCallError",
    "CudaDriver",
    "check_cuda_usable_here",
    "chi2_of_uniform_shards",
    "counted",
    "counted_in_groups",
    "descriptor_limit",
    "descriptor_share",
    "flag",
    "further_descriptors",
    "hidden_loader_text",
    "is_out_of_files",
    "is_video_name",
    "lazy_names",
    "listed",
    "load_library",
    "lock_free_after_fork",
    "num_files_to_keep",
    "num_usable_cpus",
    "raise_if_out_of_files",
    "user_path",
    "whole_number",
    "without_controls",
]
