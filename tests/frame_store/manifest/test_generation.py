import hashlib
import json

import msgspec
import pytest

from frame_store.errors import StoreDamagedError, StoreFormatError
from frame_store.manifest import (
    Generation,
    decode_signed,
    encode_generation,
    read_generation,
    read_manifest,
    read_tree,
    tree,
)
from tests.frame_store.manifest.made_up import SHA, make_generation, with_digest
from tests.support.caches.tree import generation_folder


def decode(raw):
    return decode_signed(raw, Generation, name="x/generation.json")


def test_what_is_written_is_read_back_and_is_plain_json():
    generation = make_generation()
    raw = encode_generation(generation)
    assert decode(raw) == generation
    assert list(json.loads(raw)) == [*msgspec.to_builtins(generation), "digest"]
    body, _, rest = raw.partition(b',\n "digest": "')
    assert rest == hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, "unknown field `surprise`"),
        ({"videos": []}, "unknown field `videos`"),
        ({"num_frames": "5"}, "Expected `int`, got `str` - at `$.num_frames`"),
        ({"num_frames": 6}, "num_frames is 6, the shards hold 5"),
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
        ({"fingerprint": "x"}, "fingerprint must be 64 hex digits, found 'x'"),
    ],
)
def test_what_format_md_rejects_is_named(changes, message):
    with pytest.raises(StoreFormatError) as caught:
        decode(with_digest(msgspec.to_builtins(make_generation()) | changes))
    assert message in str(caught.value)
    assert str(caught.value).startswith("x/generation.json: ")


def test_missing_key_is_named():
    document = msgspec.to_builtins(make_generation())
    del document["fingerprint"]
    with pytest.raises(StoreFormatError, match="fingerprint"):
        decode(with_digest(document))


def test_every_flipped_byte_is_damage_of_this_file(golden_cache_of):
    """The manifest has its hash, so that it need not parse to be found wrong."""
    cache = golden_cache_of("wds-raw")
    path = generation_folder(cache) / "generation.json"
    raw = path.read_bytes()
    for position in range(0, len(raw), 7):
        altered = bytearray(raw)
        altered[position] ^= 1
        path.write_bytes(altered)
        with pytest.raises(StoreDamagedError, match=r"generation\.json: sha256 differs from the manifest's"):
            read_tree(cache)
    path.write_bytes(raw[:-1])
    with pytest.raises(StoreDamagedError, match="sha256 differs"):
        read_tree(cache)
    path.unlink()
    with pytest.raises(StoreDamagedError, match=r"generation\.json: No such file .* run cache-verify on"):
        read_tree(cache)
    assert read_manifest(cache).num_frames == 10


def test_a_cache_that_is_replaced_between_manifest_and_generation_is_read_again(
    golden_cache_of, tmp_path, monkeypatch
):
    cache, other = golden_cache_of("wds-raw"), golden_cache_of("zarr-raw")
    digests = []

    def swap_first(store_path, entry, **options):
        if not digests:
            cache.rename(tmp_path / "old")
            other.rename(cache)
        digests.append(entry.digest)
        return read_generation(store_path, entry, **options)

    monkeypatch.setattr(tree, "read_generation", swap_first)
    assert read_tree(cache).common.container == "zarr"
    assert len(set(digests)) == 2
