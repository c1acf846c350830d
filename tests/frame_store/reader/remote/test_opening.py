"""Which manifest of a cache at a URL is opened, and what is said where there is none."""

import shutil
from pathlib import Path

import pytest

from frame_store import CacheStore, open_store
from frame_store.errors import (
    ObjectAccessError,
    ObjectMissingError,
    ObjectStoreError,
    StoreDamagedError,
    StoreFormatError,
    StoreNotFoundError,
)
from frame_store.names import manifest_name
from tests.support.grown.steps import commit

URL = "s3://bkt/cache"


@pytest.mark.parametrize("newest", [0, 1, 2, 3, 4, 11])
@pytest.mark.parametrize("may_list", [True, False])
@pytest.mark.parametrize("absent", [ObjectMissingError, ObjectAccessError])
def test_the_newest_manifest_is_found(client, put, here, *, newest, may_list, absent):
    cache = put("wds-raw")
    for _ in range(newest):
        commit(cache)
    client.may_list, client.absent = may_list, absent
    client.requests.clear()
    assert open_store(URL, folder=here).manifest.version == newest
    manifests = sum(number for name, number in client.requests.items() if name.startswith("manifest-"))
    assert manifests <= (1 if may_list else 9)
    if not may_list:
        assert client.requests[manifest_name(newest + 1)] == 1


def test_a_store_that_grows_is_seen_at_the_next_opening(client, put, here):
    cache = put("wds-raw")
    assert open_store(URL, folder=here).manifest.version == 0
    commit(cache)
    assert open_store(URL, folder=here).manifest.version == 1


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://bkt", "a folder that holds some; give one of them: s3://bkt/cache"),
        ("s3://bkt/nothing", "nothing is there"),
        ("s3://bkt/cache/gen-09aa02261e657e6c", "a part of one; give the whole: s3://bkt/cache"),
        (
            "s3://bkt/clips",
            "a folder of videos; build their cache first: cache-build --videos s3://bkt/clips",
        ),
        ("s3://bkt/other", "no manifest-0000.json is there, but readme.txt"),
    ],
)
def test_what_is_there_instead_of_a_cache(client, put, here, *, url, says):
    cache = put("wds-raw")
    next(cache.glob("gen-*")).rename(cache / "gen-09aa02261e657e6c")
    for name in ("clips/a.mp4", "other/readme.txt"):
        (client.top / "bkt" / name).parent.mkdir()
        (client.top / "bkt" / name).write_bytes(b"")
    with pytest.raises(StoreNotFoundError, match=says):
        open_store(url, folder=here)


def test_what_is_said_without_lists(client, put, here):
    put("wds-raw")
    client.may_list = False
    with pytest.raises(StoreNotFoundError, match="this store has no list"):
        open_store("s3://bkt/nothing", folder=here)
    client.absent = ObjectAccessError
    with pytest.raises(ObjectAccessError):
        open_store("s3://bkt/nothing", folder=here)


def test_a_cache_without_its_manifest_or_with_a_gap(client, put, here):
    cache = put("wds-raw")
    shutil.copy(cache / "manifest-0000.json", cache / "manifest-0002.json")
    with pytest.raises(StoreFormatError, match=r"s3://bkt/cache/manifest-0001\.json: is missing"):
        open_store(URL, folder=here)
    for path in cache.glob("manifest-*"):
        path.unlink()
    with pytest.raises(StoreFormatError, match="the rest of a cache is there"):
        open_store(URL, folder=here)


def test_a_generation_that_a_compaction_removed_while_it_was_opened(client, put, top, here, monkeypatch):
    """The manifest that was found names folders that are gone, and a newer one does not."""
    cache = put("wds-raw")
    commit(cache)
    newer = (cache / "manifest-0001.json").rename(top / "newer")
    folder = next(cache.glob("gen-*"))
    folder.rename(top / "away")
    get = client.get

    def get_late(self, key, **options):
        if "gen-" in key and newer.exists():  # the newer version comes when the older one's folder is gone
            newer.rename(cache / "manifest-0001.json")
            (top / "away").rename(folder)
            raise ObjectMissingError(f"{key}: is not there")
        return get(self, key, **options)

    monkeypatch.setattr(client, "get", get_late)
    assert open_store(URL, folder=here).manifest.version == 1


def test_a_generation_that_is_missing(client, put, here):
    cache = put("wds-raw")
    shutil.rmtree(next(cache.glob("gen-*")))
    with pytest.raises(
        StoreDamagedError, match=r"generation.json.*manifest-0000.json names it; run cache-verify"
    ):
        open_store(URL, folder=here)


def test_arguments(client, put, here, golden_caches):
    cache = put("wds-raw")
    with pytest.raises(ValueError, match="give the URL as text"):
        open_store(Path(URL), folder=here)
    with pytest.raises(ValueError, match="for a cache at a URL"):
        open_store(cache, folder=here)
    with pytest.raises(ValueError, match="a URL is given"):
        open_store(URL, folder="s3://bkt/folder")
    with pytest.raises(ValueError, match="folder_bytes must be 1 or more"):
        open_store(URL, folder=here, folder_bytes=0)
    with pytest.raises(ObjectStoreError, match=r"000000.tar: has \d+ bytes, and folder_bytes is 100"):
        CacheStore(URL, folder=here, folder_bytes=100)
    assert not CacheStore(URL, folder=here, verify_reads=False).verify_reads
