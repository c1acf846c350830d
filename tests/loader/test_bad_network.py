"""Batches of a cache in an object store behind a bad network are those of the local cache.

The campaign `tests.campaigns.remote.bad_network` does it a thousand times.
"""

import pytest

from tests.support.object_stores import Faults, faulty_proxy
from tests.support.object_stores.cache_copies import compare_batches, put_cache, write_noise_cache


@pytest.mark.parametrize(
    "options",
    [{"sampling": "permutation"}, {"sampling": "block", "shards_per_block": 2}],
    ids=["ranges", "folder"],
)
def test_batches_behind_a_bad_network_are_right(seaweed, bucket_folder, tmp_path, monkeypatch, options):
    write_noise_cache(tmp_path / "cache", 200, frames_per_shard=20)
    shard_bytes = put_cache(tmp_path / "cache", bucket_folder)
    opened = {"folder": tmp_path / "folder"}
    if options["sampling"] == "block":
        opened["folder_bytes"] = 4 * shard_bytes
    with faulty_proxy(seaweed, Faults.of_all_kinds(0.15, delay_seconds=0.02), seed=3) as proxy:
        for name, value in proxy.store(seaweed).environment.items():
            monkeypatch.setenv(name, value)

        coming_back = []

        def die(number):
            if number == 10:
                coming_back.append(proxy.die_for(0.5))

        found = compare_batches(
            tmp_path / "cache", bucket_folder, 20, opened=opened, after=die, batch_size=16, seed=5, **options
        )
        coming_back[0].join()
        assert found.num_batches == 20
        assert sum(proxy.counts.faults.values()) > 5
    whole_shards = list((tmp_path / "folder" / "shards").rglob("*.tar"))
    assert bool(whole_shards) is (options["sampling"] == "block")
