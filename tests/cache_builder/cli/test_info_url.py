"""`cache-info URL`: what a cache in an object store states is what its copy here states."""

import json

import pytest

from cache_builder.cli import cache_compact, cache_info
from cache_builder.compaction import compact_cache
from frame_store.remote import ObjectClient
from tests.support.caches.camera_cache import write_camera_cache
from tests.support.caches.made_generations import write_grown
from tests.support.commands import run
from tests.support.object_stores import flip_a_bit, upload


@pytest.mark.parametrize("write", [write_grown, write_camera_cache])
def test_it_says_of_a_url_what_it_says_of_the_copy_here(tmp_path, bucket_folder, write, monkeypatch):
    cache = tmp_path / "cache"
    write(cache)
    upload(cache, bucket_folder)
    asked = []
    real = ObjectClient.get_range
    monkeypatch.setattr(
        ObjectClient, "get_range", lambda client, key, *args: asked.append(key) or real(client, key, *args)
    )
    flags = [["--videos"], ["--json"]]
    if write is write_grown:
        flags.append(["--shards"])
    for each in flags:
        here, there = run(cache, *each, command=cache_info), run(bucket_folder, *each, command=cache_info)
        assert there.exit_code == 0, there.stderr
        assert there.stdout == here.stdout.replace(str(cache), bucket_folder)
    assert {key.rpartition("/")[2] for key in asked} == {"videos.jsonl"}


def test_folders_of_earlier_versions_are_counted_there(tmp_path, bucket_folder):
    cache = write_grown(tmp_path / "cache")
    compact_cache(cache, join_all=True, workers=1)
    client = upload(cache, bucket_folder)
    here, there = run(cache, command=cache_info), run(bucket_folder, command=cache_info)
    assert "there with" in there.stdout
    assert there.stdout == here.stdout.replace(str(cache), bucket_folder)
    superseded = json.loads(run(bucket_folder, "--json", command=cache_info).stdout)["superseded"]
    gone = superseded[0]["folder"]
    client.delete([each.key for each in client.objects(gone)])
    after = json.loads(run(bucket_folder, "--json", command=cache_info).stdout)["superseded"]
    assert [each["num_bytes"] for each in after if each["folder"] == gone] == [None]


def test_a_damaged_table_is_named_by_its_url_and_other_commands_say_that_they_take_none(
    tmp_path, bucket_folder
):
    client = upload(write_grown(tmp_path / "cache"), bucket_folder)
    table = next(each.key for each in client.objects() if each.key.endswith("videos.jsonl"))
    flip_a_bit(client, table)
    failed = run(bucket_folder, command=cache_info)
    assert failed.exit_code == 1 and f"{bucket_folder}/{table}: sha256" in failed.stderr
    assert "/tmp" not in failed.output
    refused = run(bucket_folder, command=cache_compact)
    assert refused.exit_code == 2 and "cache-fetch URL DIR" in refused.stderr
