"""A folder of columns: its bytes are pinned, and whatever a stranger writes into it is an error of the store."""

import hashlib
import json

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frame_store import open_store
from frame_store.column_files import content_of_column, open_columns, write_columns
from frame_store.columns import Column
from frame_store.errors import StoreError, StoreFormatError
from frame_store.manifest import ColumnsEntry, Encoding, encode_manifest, read_manifest, read_tree
from frame_store.names import columns_folder, manifest_name
from frame_store.verify import check_columns, verify_store
from tests.support.caches.golden_stores import golden_frames, write_store


def some_columns(num_rows, num_videos):
    valid = np.arange(num_rows) % 3 != 0
    return [
        Column.of("task", "video", np.arange(num_videos, dtype=np.int32) % 2, strings=["open", "push"]),
        Column.of("action", "frame", np.arange(num_rows * 2, dtype=np.float32).reshape(num_rows, 2)),
        Column.of("done", "frame", np.arange(num_rows) % 2 == 0, valid=valid),
    ]


def test_the_bytes_of_columns_are_pinned(tmp_path):
    """A change of these is a change of the format: FORMAT.md section 4.2 then changes, too."""
    contents = [content_of_column(column) for column in some_columns(4, 2)]
    digest, record = write_columns(tmp_path, contents, fingerprint="f" * 64, num_rows=4, num_videos=2)
    assert [column.name for column in record.columns] == ["action", "done", "task"]
    files = {path.name: path.read_bytes() for path in sorted(tmp_path.iterdir())}
    assert {name: hashlib.sha256(data).hexdigest()[:16] for name, data in files.items()} == PINNED
    assert digest == hashlib.sha256(files["columns.json"]).hexdigest()
    assert files["0002.codes.json"] == b'[\n "open",\n "push"\n]\n'
    np.testing.assert_array_equal(
        np.load(tmp_path / "0000.npy"), np.arange(8, dtype=np.float32).reshape(4, 2)
    )
    assert np.load(tmp_path / "0001.valid.npy").tolist() == [False, True, True, False]


PINNED = {
    "0000.npy": "38e7c920275060ff",
    "0001.npy": "638c181819411d3d",
    "0001.valid.npy": "a95604800b85a8d6",
    "0002.codes.json": "44f9841ef1a5ac92",
    "0002.npy": "28d4b63fdadd72ed",
    "columns.json": "e6dced0b07a2812c",
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache with columns."""
    path = tmp_path_factory.mktemp("columns") / "cache"
    write_store(path, "wds", Encoding(name="raw"), golden_frames())
    add(path)
    return path


def add(path):
    store = open_store(path)
    made = path.with_name("made")
    made.mkdir()
    num_rows, num_videos = store.source_order.num_rows, len(store.videos)
    digest, _ = write_columns(
        made,
        [content_of_column(column) for column in some_columns(num_rows, num_videos)],
        fingerprint=store.fingerprint,
        num_rows=num_rows,
        num_videos=num_videos,
    )
    made.rename(path / columns_folder(digest))
    name_columns(path, digest)


def name_columns(path, digest):
    """Write a manifest that names the folder of columns."""
    manifest = read_manifest(path)
    entry = ColumnsEntry(
        first_video=0, num_videos=manifest.num_videos, folder=columns_folder(digest), digest=digest
    )
    changed = msgspec.structs.replace(manifest, version=1, columns=[entry])
    (path / manifest_name(1)).write_bytes(encode_manifest(changed))


def resigned(document):
    body = json.dumps({key: value for key, value in document.items() if key != "digest"}, indent=1).encode()
    body = body.removesuffix(b"\n}")
    return body + b',\n "digest": "' + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


def read_all(path):
    columns = open_store(path).columns
    columns.gather(np.arange(columns.num_rows), np.zeros(columns.num_rows, np.int64))
    for column in columns.values():
        column.gather_valid(np.arange(len(column)))


def test_what_was_written_is_sound(cache):
    read_all(cache)
    assert verify_store(cache).problems == []


JSON = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 5, 10, 2**40, 2**63]),
    st.sampled_from(["", "frame", "video", "<f4", "|O", "<U9", "i4,i4", "../x", "a/b", "f" * 64, "0000.npy"]),
    st.lists(st.integers(-1, 2**40), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def places_of(document, path=()):
    if isinstance(document, dict):
        for key, value in document.items():
            yield (*path, key)
            yield from places_of(value, (*path, key))
    elif isinstance(document, list):
        for number, value in enumerate(document):
            yield (*path, number)
            yield from places_of(value, (*path, number))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_altered_record_with_right_hashes_is_an_error_or_harmless(cache, data):
    """Whoever makes a cache can make the hashes fit. Nothing but an error of the store may come of it."""
    folder = read_manifest(cache, version=1).columns[0].folder
    original = (cache / folder / "columns.json").read_bytes()
    manifest = (cache / manifest_name(1)).read_bytes()
    document = json.loads(original)
    place = data.draw(st.sampled_from(list(places_of(document))))
    parent = document
    for key in place[:-1]:
        parent = parent[key]
    if data.draw(st.booleans()) and isinstance(parent, dict):
        del parent[place[-1]]
    else:
        parent[place[-1]] = data.draw(JSON)
    altered = resigned(document)
    digest = hashlib.sha256(altered).hexdigest()
    new = cache / columns_folder(digest)
    try:
        if new.name != folder:
            (cache / folder).rename(new)
        (new / "columns.json").write_bytes(altered)
        (cache / manifest_name(1)).unlink()
        name_columns(cache, digest)
        try:
            read_all(cache)
        except StoreError:
            tree = read_tree(cache)
            first_row = np.array([0, 6, 10])
            assert list(check_columns(cache, tree.manifest, tree=tree, first_row=first_row))
    finally:
        if new.name != folder and new.exists():
            new.rename(cache / folder)
        (cache / folder / "columns.json").write_bytes(original)
        (cache / manifest_name(1)).write_bytes(manifest)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("0002.codes.json", b'["a", "a"]', "a text is listed twice"),
        ("0002.codes.json", b'["a", 1]', "Expected `str`"),
        ("0002.codes.json", b"[[[[", "0002.codes.json"),
    ],
)
def test_texts_of_a_stranger_are_checked(cache, name, content, message):
    folder = read_manifest(cache, version=1).columns[0].folder
    sound = {file: (cache / folder / file).read_bytes() for file in ("columns.json", name)}
    manifest = (cache / manifest_name(1)).read_bytes()
    document = json.loads(sound["columns.json"])
    document["columns"][2]["codes"] |= {
        "num_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    altered = resigned(document)
    digest = hashlib.sha256(altered).hexdigest()
    new = cache / columns_folder(digest)
    try:
        (cache / folder).rename(new)
        (new / name).write_bytes(content)
        (new / "columns.json").write_bytes(altered)
        (cache / manifest_name(1)).unlink()
        name_columns(cache, digest)
        with pytest.raises(StoreFormatError, match=message):
            open_columns(read_tree(cache), first_row=np.array([0, 6, 10]))
        assert any(message in problem for problem in verify_store(cache).problems)
    finally:
        new.rename(cache / folder)
        for file, data in sound.items():
            (cache / folder / file).write_bytes(data)
        (cache / manifest_name(1)).write_bytes(manifest)
