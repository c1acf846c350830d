import hashlib
import json

import msgspec
import pytest

from frame_store.errors import StoreFormatError, StoreNotFoundError
from frame_store.manifest import (
    Encoding,
    FileEntry,
    ShardEntry,
    StoreManifest,
    VideoEntry,
    decode_manifest,
    encode_manifest,
    read_manifest,
)

SHA = "0" * 64


def make_video(path="a.mp4", num_frames=3, **changes):
    fields = {
        "path": path,
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


def make_manifest(**changes):
    fields = {
        "format": "frame-cache",
        "format_version": 1,
        "container": "wds",
        "frame_shape": (4, 6, 3),
        "encoding": Encoding(name="raw"),
        "layout": "shuffled",
        "seed": 0,
        "num_frames": 5,
        "config": {"stride": 1},
        "library_versions": {"av": "18"},
        "fidelity": None,
        "shards": [ShardEntry(name="shards/000000.tar", num_frames=5, num_bytes=7, sha256=SHA)],
        "files": [FileEntry(name="index.npy", num_bytes=7, sha256=SHA)],
        "videos": [make_video("a.mp4", 3), make_video("line\nbreak ü.mkv", 2)],
        "fingerprint": SHA,
    }
    return StoreManifest(**(fields | changes))


def with_digest(document):
    """The bytes of a manifest whose content we choose freely and whose digest is right."""
    body = json.dumps(document, indent=1).removesuffix("\n}").encode()
    return body + b',\n "digest": "' + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


def as_document(manifest):
    return msgspec.to_builtins(manifest)


def test_what_is_written_is_read_back_and_is_plain_json():
    manifest = make_manifest()
    raw = encode_manifest(manifest)
    assert decode_manifest(raw) == manifest
    plain = json.loads(raw)
    assert plain["videos"][1]["path"] == "line\nbreak ü.mkv"
    assert list(plain)[-1] == "digest"


def test_digest_is_what_format_md_says():
    raw = encode_manifest(make_manifest())
    body, _, rest = raw.partition(b',\n "digest": "')
    assert rest == hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


def test_every_flipped_byte_is_refused():
    raw = encode_manifest(make_manifest())
    for position in range(len(raw)):
        altered = bytearray(raw)
        altered[position] ^= 1
        with pytest.raises(StoreFormatError):
            decode_manifest(bytes(altered))


def test_every_truncation_is_refused():
    raw = encode_manifest(make_manifest())
    for length in range(len(raw)):
        with pytest.raises(StoreFormatError):
            decode_manifest(raw[:length])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "format must be 'frame-cache', found 'other'"),
        ({"format_version": 2}, "format version 2 is not supported, this reader knows 1"),
        ({"surprise": 1}, "unknown field `surprise`"),
        ({"num_frames": "5"}, "Expected `int`, got `str` - at `$.num_frames`"),
        ({"num_frames": 6}, "num_frames is 6, the shards hold 5, the videos 5"),
        ({"frame_shape": [4, 6, 4]}, r"frame_shape must be [H, W, 3], found [4, 6, 4]"),
        (
            {"container": "zarr", "encoding": {"name": "jpeg", "quality": 95, "chroma": "444"}},
            "zarr does not take jpeg",
        ),
        ({"encoding": {"name": "raw", "quality": 95}}, "belong to jpeg"),
        ({"encoding": {"name": "jpeg", "quality": 101, "chroma": "444"}}, "1..100, found 101"),
        ({"files": [{"name": "../x", "num_bytes": 1, "sha256": SHA}]}, "plain relative path, found '../x'"),
        ({"files": [{"name": "/etc/passwd", "num_bytes": 1, "sha256": SHA}]}, "plain relative path"),
        ({"files": [{"name": "index.npy", "num_bytes": -1, "sha256": SHA}]}, "num_bytes is -1"),
    ],
)
def test_what_format_md_rejects_is_named(changes, message):
    with pytest.raises(StoreFormatError) as caught:
        decode_manifest(with_digest(as_document(make_manifest()) | changes), name="x/manifest.json")
    assert message in str(caught.value)
    assert "x/manifest.json" in str(caught.value)


def test_missing_key_is_named():
    document = as_document(make_manifest())
    del document["fingerprint"]
    with pytest.raises(StoreFormatError, match="fingerprint"):
        decode_manifest(with_digest(document))


def test_deep_nesting_is_refused_without_a_crash():
    document = (
        b'{"format": "frame-cache", "format_version": 1, "config": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    )
    with pytest.raises(StoreFormatError):
        decode_manifest(document)


def test_no_store_says_what_is_missing(tmp_path):
    with pytest.raises(StoreNotFoundError, match="no such folder"):
        read_manifest(tmp_path / "nowhere")
    with pytest.raises(StoreNotFoundError, match="an empty folder"):
        read_manifest(tmp_path)
