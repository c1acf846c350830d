"""Objects that are put once, and frames that are asked for by ranges."""

import numpy as np
import pytest

from cache_builder.errors import OutputError
from cache_builder.findings import SOURCE_DTYPE
from cache_builder.jobs import newest_version, put_once
from cache_builder.jobs.spilled_frames import ranges, windows
from cache_builder.stages import ScratchObjects, make_node_check
from frame_store.remote import ObjectClient, RemoteUrl


@pytest.fixture
def cache(bucket_folder):
    return ObjectClient(RemoteUrl.of(bucket_folder))


@pytest.fixture
def file(tmp_path):
    """A file with this content."""

    def write(content):
        (tmp_path / "file").write_bytes(content)
        return tmp_path / "file"

    return write


def test_what_no_manifest_names_is_replaced_where_it_differs(cache, file):
    first = put_once(cache, "gen-0/x", file(b"one"))
    assert put_once(cache, "gen-0/x", file(b"one")).e_tag == first.e_tag
    put_once(cache, "gen-0/x", file(b"two"))
    assert cache.get("gen-0/x", max_bytes=9) == b"two"
    put_once(cache, "gen-0/empty", file(b""))
    assert cache.head("gen-0/empty").num_bytes == 0


def test_what_a_manifest_names_is_never_replaced(cache, file, golden_caches):
    manifest = (golden_caches / "wds-jpeg" / "manifest-0000.json").read_bytes()
    (folder,) = [path.name for path in (golden_caches / "wds-jpeg").iterdir() if path.is_dir()]
    cache.put("manifest-0000.json", manifest)
    put_once(cache, f"{folder}/x", file(b"one"))
    put_once(cache, f"{folder}/x", file(b"one"))
    with pytest.raises(OutputError, match="another process has published"):
        put_once(cache, f"{folder}/x", file(b"two"))
    assert cache.get(f"{folder}/x", max_bytes=9) == b"one"


@pytest.mark.parametrize("num_versions", [0, 1, 2, 3, 6])
def test_the_newest_version_is_found_without_a_list(cache, num_versions):
    for version in range(num_versions):
        cache.put(f"manifest-{version:04d}.json", b"{}")
    assert newest_version(cache) == (num_versions - 1 if num_versions else None)


def test_a_node_of_a_cluster_must_see_the_same_object(cache):
    check = make_node_check(tokens=[], videos=[], scratch=ScratchObjects(cache.url))
    assert check.run() == []
    cache.put("nodes", b"of another store")
    assert check.run() == [f"has another object at {cache.url}/nodes than this machine"]


def test_ranges_join_neighbours_and_bridge_short_gaps():
    sources = np.zeros(6, SOURCE_DTYPE)
    sources["unit"] = [0, 1, 0, 0, 1, 0]
    sources["byte_offset"] = [100, 0, 0, 200, 5000, 390]
    sources["byte_length"] = [100, 10, 100, 50, 10, 150]
    found = [(each.unit, each.start, each.end, each.frames) for each in ranges(["a", "b"], sources)]
    assert found == [("a", 0, 540, [2, 0, 3, 5]), ("b", 0, 10, [1]), ("b", 5000, 5010, [4])]


def test_windows_hold_a_bounded_number_of_bytes():
    mib = 1 << 20
    lengths = np.array([40 * mib, 20 * mib, 5 * mib, 100 * mib, 1], np.uint32)
    assert [*windows(lengths)] == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert [*windows(lengths[:0])] == []
