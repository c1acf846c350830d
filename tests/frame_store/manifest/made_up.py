"""Records of a cache that does not exist."""

import hashlib
import json

from frame_store.manifest import (
    Encoding,
    FileEntry,
    Generation,
    GenerationEntry,
    ShardEntry,
    VideoEntry,
    fresh_manifest,
)

SHA = "0" * 64


def make_video(path="a.mp4", num_frames=3, **changes):
    fields = {
        "path": path,
        "span": None,
        "verdict": "whole",
        "reason": None,
        "notes": [],
        "num_bytes": 10,
        "sha256": SHA,
        "num_frames_in_header": None,
        "num_packets": num_frames,
        "num_frames_decoded": num_frames,
        "num_frames_stored": num_frames,
        "num_frames_corrupt": 0,
        "num_decoder_errors": 0,
        "pts_monotonic": True,
        "fidelity": None,
        "findings": None,
        "facts": {"codec": "h264"},
    }
    return VideoEntry(**(fields | changes))


def make_generation(**changes):
    fields = {
        "container": "wds",
        "frame_shape": (4, 6, 3),
        "pixel": "rgb8",
        "encoding": Encoding(name="raw"),
        "layout": "shuffled",
        "seed": 0,
        "num_frames": 5,
        "num_videos": 2,
        "config": {"stride": 1},
        "library_versions": {"av": "18"},
        "fidelity": None,
        "shards": [ShardEntry(name="shards/000000.tar", num_frames=5, num_bytes=7, sha256=SHA)],
        "files": [FileEntry(name=name, num_bytes=7, sha256=SHA) for name in ("index.npy", "videos.jsonl")],
        "fingerprint": SHA,
        "parts": [],
    }
    return Generation(**(fields | changes))


def make_entry(**changes):
    fields = {
        "folder": f"gen-{SHA[:16]}",
        "digest": SHA,
        "first_frame": 0,
        "num_frames": 5,
        "first_video": 0,
        "num_videos": 2,
    }
    return GenerationEntry(**(fields | changes))


def make_manifest():
    return fresh_manifest(make_entry())


def with_digest(document):
    """The bytes of a file whose content we choose freely and whose digest is right."""
    body = json.dumps(document, indent=1).removesuffix("\n}").encode()
    return body + b',\n "digest": "' + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'
