"""Content orders of caches of unknown origin: whatever the file and the manifest say, a documented error."""

import json
import shutil

import numpy as np
import pytest

from frame_store import open_store
from frame_store.errors import StoreDamagedError, StoreFormatError
from frame_store.manifest import read_manifest
from frame_store.verify import verify_store
from frame_store.views import content_ids, content_ids_at
from tests.support.caches.cache_edits import edit_manifest
from tests.support.caches.golden_stores import write_store_with_order
from tests.support.content_orders.order_mutations import order_file_of, resign_order, write_order
from tests.support.mutations.of_caches import sign


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    path = tmp_path_factory.mktemp("golden") / "cache"
    write_store_with_order(path)
    return path


@pytest.fixture
def cache(golden, tmp_path):
    return shutil.copytree(golden, tmp_path / "cache")


def name_of(cache):
    return order_file_of(cache).relative_to(cache).as_posix()


def test_a_changed_order_has_another_hash(cache):
    write_order(cache, range(10))
    assert verify_store(cache).problems == [f"{name_of(cache)}: sha256 differs from that in the manifest"]


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        ([0, 1, 2, 10, 4, 5, 6, 7, 8, 9], "place 3 holds frame id 10, the order has 10 frames"),
        (
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 2**32 - 1],
            "place 9 holds frame id 4294967295, the order has 10 frames",
        ),
        ([0, 1, 2, 3, 4, 5, 5, 7, 8, 9], "frame 6 is missing, so that another one occurs twice"),
    ],
)
def test_a_signed_order_that_is_no_permutation_is_found(cache, ids, problem):
    write_order(cache, ids)
    resign_order(cache, sign)
    assert verify_store(cache).problems == [f"{name_of(cache)}: {problem}"]
    store = open_store(cache)
    assert len(store.read_frames(range(10))) == 10
    if "holds" in problem:
        with pytest.raises(StoreDamagedError, match="its content order has frame id"):
            content_ids_at(store, np.arange(10))


@pytest.mark.parametrize(
    "ids",
    [np.arange(10, dtype=np.int32), np.arange(9, dtype="<u4"), np.arange(10.0), np.zeros((5, 2), "<u4")],
)
def test_a_signed_order_of_another_type_or_length_is_refused(cache, ids):
    np.save(order_file_of(cache), ids)
    resign_order(cache, sign)
    (problem,) = verify_store(cache).problems
    assert problem.startswith(
        f"{name_of(cache)}: expected 168 bytes with (10,) of uint32 as in FORMAT.md section 4.3"
    )
    with pytest.raises(StoreDamagedError, match=r"FORMAT\.md section 4\.3"):
        content_ids(open_store(cache))


def test_a_link_is_not_followed(cache, tmp_path):
    file = order_file_of(cache)
    file.rename(tmp_path / "outside.npy")
    file.symlink_to(tmp_path / "outside.npy")
    with pytest.raises(StoreDamagedError, match="is a symbolic link"):
        content_ids(open_store(cache))
    assert any("symbolic link" in problem for problem in verify_store(cache).problems)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folder": "content-0123456789abcdef"}, "the folder must be content-"),
        ({"folder": "../outside"}, "the folder must be content-"),
        ({"sha256": "x"}, "must be 64 hex digits"),
        ({"num_bytes": -1}, "num_bytes is -1"),
        ({"method": "PCA"}, "method is a name of lower-case letters, digits, dots and dashes, found 'PCA'"),
        ({"method": ""}, "method is a name"),
        ({"num_frames": 0}, "first_frame is 0, num_frames is 0"),
        ({"first_frame": 1}, "frames of content_orders begin at 1, expected 0"),
        ({"num_frames": 1}, "frames of content_orders end at 1, expected"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_manifest_with_a_strange_order_is_refused(cache, changes, message):
    edit_manifest(cache, lambda manifest: manifest["content_orders"][0].update(changes))
    with pytest.raises(StoreFormatError, match=message):
        read_manifest(cache)


def test_a_frame_is_in_one_order(cache):
    edit_manifest(cache, lambda manifest: manifest["content_orders"].append(manifest["content_orders"][0]))
    with pytest.raises(StoreFormatError, match="frames of content_orders begin at 0, expected"):
        read_manifest(cache)


def test_an_order_in_use_is_not_superseded(cache):
    edit_manifest(
        cache, lambda manifest: manifest["superseded"].append(manifest["content_orders"][0]["folder"])
    )
    with pytest.raises(StoreFormatError, match="no superseded folder"):
        read_manifest(cache)


def test_a_manifest_states_what_the_file_is(cache):
    manifest = json.loads((cache / "manifest-0000.json").read_bytes())
    (entry,) = manifest["content_orders"]
    assert list(entry) == ["first_frame", "num_frames", "folder", "sha256", "num_bytes", "method"]
    assert entry["num_bytes"] == order_file_of(cache).stat().st_size
    assert verify_store(cache).problems == []
