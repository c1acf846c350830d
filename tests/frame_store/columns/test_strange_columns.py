"""Columns of unknown origin, with right hashes: an error that names the file, and nothing outside is read."""

import io
import json
import os
import sys
import threading

import numpy as np
import pytest

from frame_store import open_store
from frame_store.columns import MappedArray
from frame_store.errors import StoreDamagedError, StoreError, StoreFormatError
from frame_store.npy import read_npy_header
from frame_store.verify import verify_store
from tests.support.caches.opened_paths import opened_paths, paths_outside
from tests.support.mutations.of_caches import resign, sign
from tests.support.mutations.of_columns import columns_folder_of, newest_manifest

OPENED = opened_paths()
COLUMNS = ["action", "grasped", "note", "robot", "task"]


@pytest.fixture
def cache(golden_cache_of):
    return golden_cache_of("wds-jpeg-columns")


def edit_record(cache, change):
    path = columns_folder_of(cache) / "columns.json"
    document = json.loads(path.read_bytes())
    del document["digest"]
    change(document)
    path.write_bytes(sign(document))
    resign(cache)


def edit_manifest(cache, change):
    path = newest_manifest(cache)
    document = json.loads(path.read_bytes())
    del document["digest"]
    change(document)
    path.write_bytes(sign(document))


def npy(descr, shape, data=b"", *, is_fortran=False):
    header = f"{{'descr': {descr}, 'fortran_order': {is_fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def _gather_first_row(cache):
    for column in open_store(cache).columns.values():
        column.gather([0])
        column.gather_valid([0])


def test_the_columns_are_read_before_they_are_spoilt(cache):
    assert verify_store(cache).problems == []
    columns = open_store(cache).columns
    assert list(columns) == COLUMNS
    assert columns["action"].num_missing == columns["note"].num_missing == 5


@pytest.mark.parametrize(
    "dtype", ["M8[s/0]", "i4,(", "|O", "<U4", "f4", ">f4", "float32", "<f4,<f4", "(2,)<f4", "", "M8[", "<f16"]
)
def test_a_dtype_is_compared_and_never_parsed(cache, dtype):
    """numpy divides by zero for the first, which ends the process, and raises SyntaxError for the second."""
    edit_record(cache, lambda record: record["columns"][0].update(dtype=dtype))
    with pytest.raises(StoreFormatError, match=r"columns\.json: dtype of 'action' must be one of"):
        _ = open_store(cache).columns
    assert any("columns.json: dtype of" in problem for problem in verify_store(cache).problems)


@pytest.mark.parametrize(
    "descr",
    [
        "'M8[s/0]'",
        "'M8[s\\x2f0]'",
        "'M8' '[s/0]'",
        "'''M8[s/0]'''",
        '"m8[D/0]"',
        "[('a', 'M8[s/0]')]",
        "'i4,('",
    ],
)
def test_the_type_in_a_header_is_plain_before_numpy_parses_it(cache, descr):
    with pytest.raises(ValueError, match="is no type of numbers"):
        read_npy_header(io.BytesIO(npy(descr, "(4,)", bytes(64))))
    path = columns_folder_of(cache) / "0000.npy"
    path.write_bytes(npy(descr, "(10, 2)", bytes(160)))
    resign(cache)
    with pytest.raises(StoreDamagedError, match=r"0000\.npy: .*is no type of numbers"):
        open_store(cache).columns["action"].gather([0])
    assert any("0000.npy: " in problem for problem in verify_store(cache).problems)


@pytest.mark.parametrize(
    "content",
    [
        npy("'<f4'", "(10, 2)", bytes(80), is_fortran=True),
        npy("'|O'", "(10, 2)", bytes(160)),
        npy("'<f4'", "(2, 10)", bytes(80)),
        npy("'<f4'", "(10, 2)", bytes(79)),
        npy("'<f4'", "(10, 2)", bytes(81)),
        npy("'<f4'", "(10000000000000, 2)", bytes(80)),
        npy("'<i4'", "(10, 2)", bytes(80)),
        npy("'<f4'", "(-1, 2)", bytes(80)),
        b"",
    ],
)
def test_another_array_than_columns_json_has_is_refused(cache, content):
    (columns_folder_of(cache) / "0000.npy").write_bytes(content)
    resign(cache)
    with pytest.raises(StoreDamagedError, match=r"0000\.npy: "):
        open_store(cache).columns["action"].gather([0])
    assert any("0000.npy: " in problem for problem in verify_store(cache).problems)


@pytest.mark.parametrize("code", [-2, -(2**31), 4, 2**31 - 1])
def test_a_code_without_a_text_is_an_error(cache, code):
    path = columns_folder_of(cache) / "0002.npy"
    codes = np.load(path)
    codes[3] = code
    np.save(path, codes)
    resign(cache)
    with pytest.raises(StoreDamagedError, match=rf"column 'note': code {code}, and the list has 4 texts"):
        open_store(cache).columns["note"].gather([1, 3])
    assert any("code" in problem and "'note'" in problem for problem in verify_store(cache).problems)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.update(num_rows=11), "columns of .* with 11 frames and 2 videos"),
        (lambda record: record.update(num_rows=2**62), "columns of .* expected those of videos 0 to"),
        (lambda record: record.update(num_videos=3), "columns of .* expected those of videos 0 to"),
        (lambda record: record.update(num_rows=-1), "num_rows is -1"),
        (lambda record: record.update(columns=[]), "there are no columns"),
        (lambda record: record["columns"].reverse(), "sorted by name"),
        (lambda record: record["columns"][1].update(name="action"), "occurs twice"),
        (lambda record: record["columns"][1].update(name="Action"), "differ by case alone"),
        (lambda record: record["columns"][0].update(name="../x"), "path separator"),
        (lambda record: record["columns"][0].update(shape=[2**40, 2**40]), "cannot be stored"),
        (lambda record: record["columns"][0].update(shape=[-2, -1]), "cannot be stored"),
        (lambda record: record["columns"][0].update(num_missing=0), "valid does not fit"),
        (
            lambda record: record["columns"][0]["values"].update(name="../0000.npy"),
            "files of column 0 must be",
        ),
        (
            lambda record: record["columns"][0]["values"].update(name="/etc/passwd"),
            "files of column 0 must be",
        ),
        (
            lambda record: record["columns"][0].update(codes=record["columns"][2]["codes"]),
            "codes of 'action'",
        ),
    ],
)
def test_a_record_that_cannot_be_is_refused(cache, change, message):
    edit_record(cache, change)
    with pytest.raises(StoreError, match=message):
        _ = open_store(cache).columns
    assert any("columns.json: " in problem for problem in verify_store(cache).problems)


@pytest.mark.parametrize("texts", [b'["a", "a", "b", "c"]', b'["a", 1]', b"[" * 100_000, b"", b"{}"])
def test_texts_that_are_no_list_of_different_texts_are_refused(cache, texts):
    (columns_folder_of(cache) / "0002.codes.json").write_bytes(texts)
    resign(cache)
    with pytest.raises(StoreFormatError, match=r"0002\.codes\.json: "):
        _ = open_store(cache).columns
    assert any("0002.codes.json" in problem for problem in verify_store(cache).problems)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["columns"][0].update(folder="gen-../.."), "the folder must be columns-"),
        (lambda m: m["columns"][0].update(folder="../outside"), "the folder must be columns-"),
        (lambda m: m["columns"][0].update(digest="0" * 63), "64 hex digits"),
        (
            lambda m: m["columns"][0].update(digest="0" * 64, folder="columns-" + "0" * 16),
            "columns.json: No such file",
        ),
        (lambda m: m["columns"].append(m["columns"][0]), "videos of columns begin at 0"),
        (lambda m: m["columns"][0].update(num_videos=3), "videos of columns end at 3"),
        (lambda m: m["generations"][0].update(folder="gen-../.."), "gen- and 16 hex digits"),
        (lambda m: m["generations"][0].update(num_frames=2**70), "num_frames is 1"),
        (lambda m: m["generations"].append(m["generations"][0]), "listed twice"),
        (lambda m: m["superseded"].append("../outside"), "no superseded folder"),
        (lambda m: m["superseded"].append(m["columns"][0]["folder"]), "no superseded folder"),
        (lambda m: m["superseded"].extend(m["superseded"]), "lists a folder twice"),
        (lambda m: m.update(version=7), "version is 7, the name says 2"),
        (lambda m: m.update(forgotten_videos=[2]), "forgotten_videos"),
    ],
)
def test_a_manifest_that_leads_elsewhere_is_refused(cache, change, message):
    edit_manifest(cache, change)
    OPENED.clear()
    with pytest.raises(StoreError, match=message):
        _ = open_store(cache).columns
    assert paths_outside(OPENED, cache) == []


@pytest.mark.parametrize("name", ["", "columns.json", "0000.npy", "0002.codes.json", "0000.valid.npy"])
def test_a_link_in_the_place_of_columns_is_not_followed(cache, tmp_path, name):
    path = columns_folder_of(cache) / name
    path.rename(tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    OPENED.clear()
    with pytest.raises(StoreDamagedError, match="is a symbolic link"):
        _gather_first_row(cache)
    assert any("link" in problem for problem in verify_store(cache).problems)
    assert paths_outside(OPENED, cache) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("manifest-0004.json", r"manifest-0003\.json: is missing, and manifest-0004\.json is there"),
        ("manifest-999999999.json", r"manifest-0003\.json: is missing"),
        ("manifest-00003.json", "is not the name of a manifest"),
        ("manifest-99999999999999999999.json", "is not the name of a manifest"),
        ("manifest-\x1b[2J.json", r"manifest-\\x1b\[2J\.json: is not the name of a manifest"),
        ("manifest-0003.json", r"manifest-0003\.json: version is 2, the name says 3"),
    ],
)
def test_versions_with_gaps_and_copies_are_refused(cache, name, message):
    (cache / name).write_bytes(newest_manifest(cache).read_bytes())
    with pytest.raises(StoreFormatError, match=message):
        open_store(cache)


def test_an_older_manifest_that_was_removed_or_altered_is_found(cache):
    path = cache / "manifest-0001.json"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"superseded", b"supersedeD"))
    assert any("manifest-0001.json" in problem for problem in verify_store(cache).problems)
    path.unlink()
    with pytest.raises(StoreFormatError, match=r"manifest-0001\.json: is missing"):
        open_store(cache)


def test_columns_as_a_pipe_are_not_waited_for(cache):
    path = columns_folder_of(cache) / "0000.npy"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StoreDamagedError, match=r"0000\.npy: .*not a regular file"):
        open_store(cache).columns["action"].gather([0])
    assert any("0000.npy" in problem for problem in verify_store(cache).problems)


def test_threads_that_map_an_array_at_the_same_time_all_get_it(tmp_path, monkeypatch):
    """The first of them asks the system for the size after it has mapped, and others run meanwhile."""
    np.save(tmp_path / "0000.npy", np.arange(8))
    mapped = MappedArray(tmp_path, "0000.npy", dtype=np.dtype(np.int64), shape=(8,))
    is_at_stat, may_go_on = threading.Event(), threading.Event()
    really_stat, first = os.stat, threading.Thread(target=lambda: results.append(mapped.array.sum()))
    results = []

    def stat(path, *args, **kwargs):
        if threading.current_thread() is first and not may_go_on.is_set():
            is_at_stat.set()
            assert may_go_on.wait(10)
        return really_stat(path, *args, **kwargs)

    monkeypatch.setattr(sys.modules["frame_store.columns.mapped_array"].os, "stat", stat)
    first.start()
    assert is_at_stat.wait(10)
    try:
        assert mapped.array.sum() == 28
    finally:
        may_go_on.set()
        first.join()
    assert results == [28]
