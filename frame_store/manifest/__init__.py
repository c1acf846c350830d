"""The JSON files of a cache: its manifests, and for each generation `generation.json` and the table of videos."""

from frame_store.manifest.entries import CameraEntry, ColumnsEntry, ContentOrderEntry, GenerationEntry
from frame_store.manifest.generation import Generation, encode_generation, read_generation
from frame_store.manifest.held import ClaimedManifest, HeldManifest, ManifestInUseError
from frame_store.manifest.manifest import (
    CacheManifest,
    decode_manifest,
    encode_manifest,
    fresh_manifest,
    next_manifest,
)
from frame_store.manifest.opening import MAX_MANIFEST_BYTES, read_manifest
from frame_store.manifest.parts import (
    MANY_GENERATIONS,
    PartEntry,
    joined_fingerprint,
    many_generations_hint,
    runs_of,
)
from frame_store.manifest.records import (
    ChromaSubsampling,
    Encoding,
    EncodingName,
    Fidelity,
    FileEntry,
    JsonValue,
    Layout,
    ShardEntry,
    describe_file,
    describe_files,
    require_path_inside,
)
from frame_store.manifest.shard_sizes import FramesPerShard, cut_into_shards, shard_sizes_of_parts
from frame_store.manifest.signed_json import decode_signed, encode_signed, is_too_dense
from frame_store.manifest.tree import (
    CacheTree,
    GenerationTree,
    need_files,
    read_tree,
    read_trees,
    surviving_tree,
)
from frame_store.manifest.videos import VideoEntry, VideoSpan, encode_videos, read_videos, stream_videos

__all__ = [
    "MANY_GENERATIONS",
    "MAX_MANIFEST_BYTES",
    "CacheManifest",
    "CacheTree",
    "CameraEntry",
    "ChromaSubsampling",
    "ClaimedManifest",
    "ColumnsEntry",
    "ContentOrderEntry",
    "Encoding",
    "EncodingName",
    "Fidelity",
    "FileEntry",
    "FramesPerShard",
    "Generation",
    "GenerationEntry",
    "GenerationTree",
    "HeldManifest",
    "JsonValue",
    "Layout",
    "ManifestInUseError",
    "PartEntry",
    "ShardEntry",
    "VideoEntry",
    "VideoSpan",
    "cut_into_shards",
    "decode_manifest",
    "decode_signed",
    "describe_file",
    "describe_files",
    "encode_generation",
    "encode_manifest",
    "encode_signed",
    "encode_videos",
    "fresh_manifest",
    "is_too_dense",
    "joined_fingerprint",
    "many_generations_hint",
    "need_files",
    "next_manifest",
    "read_generation",
    "read_manifest",
    "read_tree",
    "read_trees",
    "read_videos",
    "require_path_inside",
    "runs_of",
    "shard_sizes_of_parts",
    "stream_videos",
    "surviving_tree",
]
