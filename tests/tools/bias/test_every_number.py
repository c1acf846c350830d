"""Every number that `cache-bias` prints, for six kinds of cache, against the loader's orders.

A campaign does the same over more epochs: `python -m tests.campaigns.bias_report`.
"""

import pytest

from frame_store import open_store, select
from tests.support.bias.reported import Reported
from tests.support.caches.camera_cache import write_plain_cache

KINDS = {
    "equal shards": {"sizes": (16, 16, 16), "layout": "video", "frames_per_shard": 8},
    "unequal shards": {"sizes": (11, 23, 9), "layout": "video", "frames_per_shard": 15},
    "one shard": {"sizes": (13, 20), "layout": "video", "frames_per_shard": 100},
    "one video": {"sizes": (42,), "layout": "video", "frames_per_shard": 10},
    "shuffled": {"sizes": (15, 9, 24), "layout": "shuffled", "frames_per_shard": 12},
    "view": {"sizes": (15, 9, 24), "layout": "shuffled", "frames_per_shard": 12},
}
BATCH_SIZE = 8


def reported(kind, folder, *, num_epochs):
    write_plain_cache(folder / "cache", shape=(4, 4), **KINDS[kind])
    store, flags = open_store(folder / "cache"), [folder / "cache"]
    if kind == "view":
        videos = "episode_00000[02]"
        store, flags = select(store, videos=videos), [*flags, "--videos-like", videos]
    return Reported(store, flags, folder / "features.npy", batch_size=BATCH_SIZE, num_epochs=num_epochs)


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_the_report_is_that_of_the_loaders_orders(kind, tmp_path):
    """All checks together fail by chance less than once in 10^6 times; 1,200 find an error of some 8% of a
    design effect. A figure over many steps has an error of its own, which is added: of 5% here."""
    found = reported(kind, tmp_path, num_epochs=1200)
    found.check()
    assert 60 < found.num_checks < 160  # times six kinds: below the 1,000 that the limits are made for
