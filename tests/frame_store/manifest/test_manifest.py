import hashlib
import json

import msgspec
import pytest

from frame_store.errors import StoreFormatError, StoreNotFoundError
from frame_store.manifest import decode_manifest, encode_manifest, read_manifest
from tests.frame_store.manifest.made_up import SHA, make_entry, make_manifest, with_digest
from tests.support.caches.tree import FIRST_MANIFEST


def as_document(manifest):
    return msgspec.to_builtins(manifest)


def test_what_is_written_is_read_back_and_is_plain_json():
    manifest = make_manifest()
    raw = encode_manifest(manifest)
    assert decode_manifest(raw) == manifest
    plain = json.loads(raw)
    assert plain["generations"][0]["folder"] == "gen-0000000000000000"
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


COLUMNS = {"first_video": 0, "num_videos": 2, "folder": f"columns-{SHA[:16]}", "digest": SHA}
SECOND = as_document(make_entry(folder="gen-0123456789abcdef", first_frame=5, first_video=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "format must be 'frame-cache', found 'other'"),
        ({"format_version": 2}, "format version 2 is not supported, this reader knows 1"),
        ({"surprise": 1}, "unknown field `surprise`"),
        ({"version": "0"}, "Expected `int`, got `str` - at `$.version`"),
        ({"version": 1}, "version is 1, the name says 0"),
        ({"generations": []}, "there are no generations"),
        ({"generations": [as_document(make_entry())] * 2}, "a generation is listed twice"),
        ({"forgotten_videos": [3]}, "forgotten_videos has 3, there are 2 videos"),
        ({"superseded": ["../x"]}, "superseded lists '../x', which is no superseded folder"),
        (
            {"superseded": [COLUMNS["folder"]], "columns": [COLUMNS]},
            "which is no superseded folder",
        ),
        ({"superseded": ["columns-" + "1" * 16] * 2}, "superseded lists a folder twice"),
        ({"columns": ["../x"]}, "Expected `object`, got `str`"),
        (
            {"columns": [COLUMNS | {"folder": "../x"}]},
            f"the folder must be {COLUMNS['folder']}, found '../x'",
        ),
        ({"columns": [COLUMNS | {"digest": "x"}]}, f"digest of {COLUMNS['folder']} must be 64 hex digits"),
        (
            {"columns": [COLUMNS | {"first_video": 1}]},
            "videos of columns begin at 1, expected 0",
        ),
        ({"columns": [COLUMNS, COLUMNS]}, "videos of columns begin at 0, expected 2"),
        ({"columns": [COLUMNS | {"num_videos": 3}]}, "videos of columns end at 3, expected 2"),
        ({"columns": [COLUMNS | {"num_videos": 0}]}, "first_video is 0, num_videos is 0"),
        ({"forgotten_videos": [1, 0]}, "forgotten_videos must be ascending video_ids"),
        ({"forgotten_videos": [-1]}, "forgotten_videos must be ascending video_ids"),
        ({"superseded": [f"gen-{SHA[:16]}"]}, "which is no superseded folder"),
        ({"superseded": ["camera-00/columns-" + "1" * 16]}, "which is no superseded folder"),
    ],
)
def test_what_format_md_rejects_is_named(changes, message):
    with pytest.raises(StoreFormatError) as caught:
        decode_manifest(with_digest(as_document(make_manifest()) | changes), name=f"x/{FIRST_MANIFEST}")
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"x/{FIRST_MANIFEST}: ")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folder": "../etc"}, "the folder of a generation is gen- and 16 hex digits, found '../etc'"),
        ({"folder": "gen-0123456789abcdeF"}, "is gen- and 16 hex digits"),
        ({"folder": "gen-0123456789abcdef/.."}, "is gen- and 16 hex digits"),
        ({"digest": SHA[1:]}, "digest of gen-0123456789abcdef must be 64 hex digits"),
        ({"first_frame": 4}, "begins with frame 4 and video 2, expected frame 5 and video 2"),
        ({"first_video": 3}, "begins with frame 5 and video 3, expected frame 5 and video 2"),
        ({"num_frames": 0}, "num_frames is 0, num_videos is 2; both are 1 or more"),
        ({"num_videos": -1}, "num_frames is 5, num_videos is -1; both are 1 or more"),
        ({"surprise": 1}, "unknown field `surprise`"),
    ],
)
def test_an_entry_that_names_no_generation_is_refused(changes, message):
    document = as_document(make_manifest())
    document["generations"].append(SECOND | changes)
    with pytest.raises(StoreFormatError) as caught:
        decode_manifest(with_digest(document))
    assert message in str(caught.value)


def test_missing_key_is_named():
    document = as_document(make_manifest())
    del document["superseded"]
    with pytest.raises(StoreFormatError, match="superseded"):
        decode_manifest(with_digest(document))


def test_deep_nesting_is_refused_without_a_crash():
    document = (
        b'{"format": "frame-cache", "format_version": 1, "columns": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    )
    with pytest.raises(StoreFormatError):
        decode_manifest(document)


def test_no_store_says_what_is_missing(tmp_path):
    with pytest.raises(StoreNotFoundError, match="no such folder"):
        read_manifest(tmp_path / "nowhere")
    with pytest.raises(StoreNotFoundError, match="an empty folder"):
        read_manifest(tmp_path)


def test_a_cache_without_its_manifest_is_incomplete(golden_cache_of):
    cache = golden_cache_of("wds-raw")
    (cache / FIRST_MANIFEST).unlink()
    with pytest.raises(StoreFormatError, match=rf"{FIRST_MANIFEST}: is missing, and the rest of a cache is"):
        read_manifest(cache)


class TestVersions:
    def test_the_highest_is_read(self, golden_cache_of):
        cache = golden_cache_of("wds-raw")
        manifest = read_manifest(cache)
        for version in range(1, 12):
            newer = msgspec.structs.replace(manifest, version=version)
            (cache / f"manifest-{version:04d}.json").write_bytes(encode_manifest(newer))
            assert read_manifest(cache) == newer
        assert read_manifest(cache, version=0) == manifest

    @pytest.mark.parametrize("missing", [0, 3])
    def test_a_gap_is_named(self, golden_cache_of, missing):
        cache = golden_cache_of("wds-raw")
        raw = (cache / FIRST_MANIFEST).read_bytes()
        for version in {0, 1, 2, 3, 4, 5} - {missing}:
            (cache / f"manifest-{version:04d}.json").write_bytes(raw)
        (cache / f"manifest-{missing:04d}.json").unlink(missing_ok=True)
        with pytest.raises(
            StoreFormatError, match=rf"manifest-000{missing}\.json: is missing, and manifest-0005"
        ):
            read_manifest(cache)

    @pytest.mark.parametrize(
        "name",
        [
            "manifest-1.json",
            "manifest-00001.json",
            "manifest-0000 (copy).json",
            "manifest--001.json",
            "manifest-0001.json.json",
            "manifest-\u0660\u0660\u0660\u0661.json",
            "manifest-00\n1.json",
        ],
    )
    def test_a_name_like_that_of_a_manifest_is_named(self, golden_cache_of, name):
        cache = golden_cache_of("wds-raw")
        (cache / name).write_bytes((cache / FIRST_MANIFEST).read_bytes())
        with pytest.raises(
            StoreFormatError, match=r"is not the name of a manifest, .* move it away"
        ) as caught:
            read_manifest(cache)
        assert name.replace("\n", "\\n") in str(caught.value)

    @pytest.mark.parametrize("name", ["manifest-0001.json~", "manifest-0001.json.7.tmp", "manifest.json"])
    def test_other_names_are_no_manifests(self, golden_cache_of, name):
        cache = golden_cache_of("wds-raw")
        (cache / name).write_bytes(b"")
        assert read_manifest(cache).version == 0


def test_columns_of_one_folder_lie_inside_a_generation():
    document = as_document(make_manifest())
    document["generations"].append(SECOND)
    document["columns"] = [COLUMNS | {"num_videos": 2 + SECOND["num_videos"]}]
    with pytest.raises(StoreFormatError, match="columns of one folder go over the end of a generation"):
        decode_manifest(with_digest(document))
