"""Objects that are put once, and frames that are asked for by ranges."""

import fcntl
import os
from dataclasses import replace

import numpy as np
import pytest

from cache_builder.errors import OutputError
from cache_builder.findings import SOURCE_DTYPE
from cache_builder.jobs import newest_version, put_once
from cache_builder.jobs.spilled_frames import ranges, windows
from cache_builder.sources import Sources, look_into
from cache_builder.stages import NodeTokens, ScratchObjects, make_node_check, make_workspace
from cache_builder.stages.workspace.locking import locked_file
from cache_builder.staging import StageSettings
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


def test_a_node_of_a_cluster_must_see_the_same_object_and_have_credentials(cache, monkeypatch):
    tokens = NodeTokens(files=[], stores=[cache.child("nodes")])
    check = make_node_check(tokens=tokens, videos=[])
    assert check.run() == []
    (key,) = [each.key for each in cache.objects()]
    with monkeypatch.context() as node:
        node.delenv("AWS_ACCESS_KEY_ID")
        node.delenv("AWS_SECRET_ACCESS_KEY")
        node.setenv("AWS_SKIP_SIGNATURE", "true")
        (told,) = check.run()
    assert told.startswith(
        "cannot use the object store: its environment lacks AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, which that"
    )
    cache.put(key, b"of another store")
    assert check.run() == [f"has another object at {cache.url}/{key} than this machine"]
    tokens.remove()
    assert not [*cache.objects()]
    (told,) = check.run()
    assert "is not there" in told and told.endswith(
        "nodes take endpoint and credentials from their own environment"
    )


def test_what_nodes_look_for_stays_until_the_end_of_a_build(cache):
    scratch = ScratchObjects(cache.url)
    scratch.claim({"of": "an older build"}, overwrite=False, to_discard="")
    scratch.spill.put("older", b"x")
    check = make_node_check(tokens=NodeTokens(files=[], stores=[scratch.nodes]), videos=[])
    scratch.claim({"of": "this build"}, overwrite=True, to_discard="")
    assert check.run() == []
    assert not [*scratch.spill.objects()]
    scratch.remove(of={"of": "this build"})
    assert not [*cache.objects()]


def test_a_node_of_a_cluster_must_see_the_videos_of_the_store(cache, tmp_path):
    cache.put("v/large.mp4", b"123456")
    cache.put("v/small.mp4", b"12345")
    stage = StageSettings(path=tmp_path / "stage")
    videos = look_into(replace(Sources.of(cache.url.child("v")), stage=stage)).videos
    check = make_node_check(tokens=NodeTokens(files=[], stores=[]), videos=videos)
    assert [seen.video.key for seen in check.videos] == ["small.mp4"]
    assert check.run() == []
    cache.put("v/small.mp4", b"54321")
    assert check.run() == [
        f"cannot read a video as this machine does: {cache.url}/v/small.mp4: was replaced since its folder was listed"
    ]
    (tmp_path / "stage").rename(tmp_path / "other")
    (tmp_path / "stage").touch()
    (told,) = check.run()
    assert told.startswith("cannot download videos: ") and "give another {--stage}" in told


def claimed(cache, number, *, overwrite=False):
    scratch = ScratchObjects(cache.url)
    scratch.claim({"settings": {"seed": number}}, overwrite=overwrite, to_discard="discard it")
    return scratch


def test_late_work_of_a_build_whose_place_another_took_is_not_taken_for_its_own(cache):
    one = claimed(cache, 1)
    other = claimed(cache, 2, overwrite=True)
    for place, of_other in [(one.spill, other.spill), (one.plans, other.plans), (one.records, other.records)]:
        place.put("late", b"")
        assert of_other.find("late") is None
    other.remove(of={"settings": {"seed": 2}})
    assert not [*cache.objects()]


def test_a_build_that_begins_while_another_looks_keeps_its_work(cache, monkeypatch):
    one = claimed(cache, 1)
    one.spill.put("unit", b"")
    looks = [None]
    identity = ScratchObjects.identity
    monkeypatch.setattr(
        ScratchObjects, "identity", lambda scratch: looks.pop() if looks else identity(scratch)
    )
    with pytest.raises(OutputError, match="something else"):
        claimed(cache, 2)
    assert identity(one) == {"settings": {"seed": 1}} and one.spill.find("unit") is not None


def test_a_longer_manifest_of_another_process_is_no_failure_of_the_store(cache):
    workspace = make_workspace(cache.url)
    cache.put("manifest-0000.json", b"a longer manifest")
    with pytest.raises(FileExistsError):
        workspace._create("manifest-0000.json", b"a manifest")
    workspace._create("manifest-0000.json", b"a longer manifest")  # an answer was lost


def test_a_lock_counts_only_while_its_file_is_there(tmp_path, monkeypatch):
    path = tmp_path / "work" / "lock"
    flock, removed = fcntl.flock, []

    def flock_too_late(descriptor, how):
        if not removed:
            removed.append(path.unlink())
            path.parent.rmdir()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock_too_late)
    descriptor = locked_file(path)
    assert removed and os.path.samestat(path.stat(), os.fstat(descriptor))
    with pytest.raises(BlockingIOError):
        locked_file(path)
    os.close(descriptor)


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
