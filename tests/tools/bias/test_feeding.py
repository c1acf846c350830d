"""`cache-bias --plan --url`: what a sampler asks of an object store, against a plain simulation of the real orders."""

import json

import numpy as np
import pytest
from frame_cache_tools.bias import plan
from frame_cache_tools.bias.cli import main as cache_bias
from frame_cache_tools.bias.feeding import (
    StoredFrames,
    StorePrices,
    StoreSpeed,
    batches_of_host,
    count_feed,
    counting,
    stored_frames,
)

from frame_store import open_store
from frame_store.reader.places import Place
from frame_store.reader.remote import ranges
from frame_store.reader.remote import shards as remote_shards
from frame_store.remote import parts
from frame_store.remote.shards import plan as shard_plan
from loader import SamplingSpec
from loader.sampling.plan import make_plan
from tests.support.commands import run
from tests.support.object_stores import ACCESS_KEY, SECRET_KEY, upload

FRAME, GAP = 13_000, 600
SAMPLERS = {
    "permutation": {"sampling": "permutation"},
    "iid": {"sampling": "iid"},
    "sequential": {"sampling": "sequential"},
    "block": {"sampling": "block", "shards_per_block": 3},
    "shards": {"sampling": "shards", "frames_per_visit": 4},
    "whole visits": {"sampling": "shards", "frames_per_visit": 16},
}


def cache_of(sizes):
    """Shards of frames of 13 kB, 600 bytes apart; every seventh frame is large."""
    lengths = np.where(np.arange(sum(sizes)) % 7, FRAME, 3 * FRAME)
    offsets, shard_bytes, first = [], [], 0
    for size in sizes:
        steps = lengths[first : first + size] + GAP
        offsets.append(np.cumsum(steps) - steps)
        shard_bytes.append(int(steps.sum()))
        first += size
    return StoredFrames(
        shard_of=np.repeat(np.arange(len(sizes)), sizes),
        offset=np.concatenate(offsets),
        length=lengths,
        shard_bytes=np.array(shard_bytes),
    )


def batches_of(sizes, options, *, ranks=1, world_size=1, batch_size=16):
    return [
        [
            *make_plan(
                np.array(sizes), batch_size=batch_size, rank=rank, world_size=world_size, **options
            ).batches(0)
        ]
        for rank in range(ranks)
    ]


def ranges_by_the_reader(batches, frames, *, except_of=()):
    """Requests and bytes, by the reader's own way to put frames together."""
    number = num_bytes = 0
    for of_process in batches:
        for batch in of_process:
            places = [
                Place(
                    frame_id=each,
                    shard_id=int(frames.shard_of[each]),
                    byte_offset=int(frames.offset[each]),
                    byte_length=int(frames.length[each]),
                    crc32c=0,
                )
                for each in sorted(set(batch.tolist()))
                if frames.shard_of[each] not in except_of
            ]
            for each in ranges.ranges_of(places, None):
                number, num_bytes = number + 1, num_bytes + each.num_bytes
    return number, num_bytes


def simulated(batches, frames, *, folder_bytes):
    """Downloads of shards, step by step: those that enter the window of coming steps, but for those that stay."""
    steps = [
        {
            int(frames.shard_of[each])
            for of_process in batches
            for batch in of_process[step : step + 1]
            for each in batch.tolist()
        }
        for step in range(len(batches[0]))
    ]
    sizes = frames.shard_bytes.tolist()
    at_once = sorted(sum(sizes[shard] for shard in step) for step in steps)[(len(steps) - 1) // 2]
    room = folder_bytes - min(folder_bytes, max(2 * at_once, min(64 << 20, folder_bytes // 4), *sizes))
    window, seen = 0, set()
    limit = max(folder_bytes // 2, 2 * sum(sizes[shard] for shard in steps[0]))
    while sum(sizes[shard] for shard in seen) < limit and window < len(steps):
        seen |= steps[window]
        window += 1
    window = window if sum(sizes[shard] for shard in seen) >= limit else 4096
    stays, epochs = set(), []
    for epoch in range(2):
        here, downloaded = set(stays), []
        for step in range(len(steps)):
            coming = set().union(*steps[step : step + window])
            here &= coming | stays
            for shard in [shard for later in steps[step : step + window] for shard in sorted(later)]:
                if shard not in here:
                    here.add(shard)
                    downloaded.append(sizes[shard])
                    if epoch == 0 and shard not in stays and sizes[shard] <= room:
                        stays.add(shard)
                        room -= sizes[shard]
        epochs.append((len(downloaded), sum(downloaded)))
    return stays, epochs


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("ranks", [1, 2])
def test_ranges_are_those_that_the_reader_makes(sampler, ranks):
    sizes = [40, 64, 17, 50, 33, 64, 64, 20]
    frames = cache_of(sizes)
    batches = batches_of(sizes, SAMPLERS[sampler], ranks=ranks, world_size=2)
    feed = count_feed(batches, frames, folder_bytes=0, num_batches=len(batches[0]))
    expected = ranges_by_the_reader(batches, frames)
    assert (feed.way, feed.first, feed.later) == ("ranges", feed.later, feed.first)
    assert (feed.first.number, feed.first.num_bytes) == expected
    assert feed.num_frames == sum(len(batch) for of_process in batches for batch in of_process)


def test_long_runs_are_cut_as_the_reader_cuts_them():
    frames = cache_of([400, 300])
    batches = [[np.arange(700), np.arange(100, 650)]]
    feed = count_feed(batches, frames, folder_bytes=0, num_batches=2)
    assert (feed.first.number, feed.first.num_bytes) == ranges_by_the_reader(batches, frames)
    assert feed.first.number > 4


def test_the_numbers_of_the_reader_are_those_that_are_counted_with():
    assert counting.MAX_GAP_BYTES == ranges.MAX_GAP_BYTES
    assert counting.MAX_RANGE_BYTES == ranges.MAX_RANGE_BYTES
    assert counting.RANGES_AT_ONCE == remote_shards.REQUESTS_AT_ONCE
    assert counting.PART_BYTES == parts.PART_BYTES
    assert counting.PARTS_AT_ONCE == parts.PARTS_AT_ONCE
    assert counting.MAX_BATCHES_AHEAD == shard_plan.MAX_BATCHES_AHEAD
    assert counting.MAX_BYTES_AHEAD == shard_plan.MAX_BYTES_AHEAD
    assert counting._DOWNLOAD_SECONDS == shard_plan.REQUEST_SECONDS
    assert counting._DOWNLOAD_BYTES_PER_SECOND == shard_plan.BYTES_PER_SECOND


@pytest.mark.parametrize("folder_bytes", [30 << 20, 100 << 20, 1 << 30])
@pytest.mark.parametrize("batch", [4, 16])
def test_the_room_that_is_kept_and_the_window_are_those_of_the_plan(folder_bytes, batch):
    """Over shards of 8 MiB, of which each batch takes some that follow each other."""
    num_shards, per_shard, shard_bytes = 40, 4, 8 << 20
    frames = StoredFrames(
        shard_of=np.arange(num_shards).repeat(per_shard),
        offset=np.tile(np.arange(per_shard) * (shard_bytes // per_shard), num_shards),
        length=np.full(num_shards * per_shard, shard_bytes // per_shard),
        shard_bytes=np.full(num_shards, shard_bytes),
    )
    ids = np.arange(num_shards * per_shard)
    batches = np.split(ids, range(batch, len(ids), batch))
    batch_of = np.arange(len(ids)) // batch
    uses = counting._Uses.of(ids, batch_of, frames, num_processes=1, folder_bytes=folder_bytes)
    plan = shard_plan.ShardPlan([shard_bytes] * num_shards, max_bytes=folder_bytes)
    with_frames = [np.unique(frames.shard_of[each], return_counts=True) for each in batches]
    upcoming = iter(with_frames)
    while plan.wants_more and (found := next(upcoming, None)) is not None:
        plan.add(list(zip(found[0].tolist(), [1000] * len(found[0]), strict=True)))
    assert uses._reserve(passes=plan.may_pass) == plan.reserve_bytes
    shards, steps = frames.shard_of[ids], batch_of
    window = counting._window(steps, shards, frames, of_first=uses.bytes_at_once, folder_bytes=folder_bytes)
    assert min(window, len(batches)) == plan.num_batches


@pytest.mark.parametrize("share", [0.45, 0.6, 0.8, 1.5])
@pytest.mark.parametrize("sampler", ["block", "sequential"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_shards_of_local_orders_pass_once_and_a_fixed_set_stays(share, sampler, ranks):
    sizes = [48, 64, 40, 50, 64, 48, 64, 64, 40, 64, 30, 64, 50, 50, 64, 64, 40, 50, 64, 64]
    frames = cache_of(sizes)
    batches = batches_of(sizes, SAMPLERS[sampler], ranks=ranks, world_size=2, batch_size=12)
    folder_bytes = int(share * frames.num_bytes)
    feed = count_feed(batches, frames, folder_bytes=folder_bytes, num_batches=len(batches[0]))
    stays, (first, later) = simulated(batches, frames, folder_bytes=folder_bytes)
    assert feed.way == "shards"
    assert (feed.first.number, feed.first.num_bytes) == first
    assert (feed.later.number, feed.later.num_bytes) == later
    assert feed.num_bytes_staying == sum(frames.shard_bytes[list(stays)])


def test_orders_without_blocks_have_a_fixed_set_and_ranges_for_the_rest():
    sizes = [600] * 40
    frames = cache_of(sizes)
    batches = batches_of(sizes, SAMPLERS["permutation"])
    folder_bytes = frames.num_bytes // 2
    feed = count_feed(batches, frames, folder_bytes=folder_bytes, num_batches=len(batches[0]))
    assert feed.way == "ranges"
    kept = feed.num_bytes_staying / frames.num_bytes
    assert 0.3 < kept < 0.5
    assert feed.later.number == pytest.approx((1 - kept) * len(frames.shard_of), rel=0.02)
    assert feed.first.number > len(frames.shard_of)  # at most: every frame, and the shards that stay
    everything = count_feed(batches, frames, folder_bytes=2 * frames.num_bytes, num_batches=len(batches[0]))
    assert everything.later.number == 0


@pytest.mark.parametrize("sampler", ["permutation", "block"])
def test_the_start_of_an_epoch_stands_for_the_whole(sampler):
    sizes = [64] * 160
    frames = cache_of(sizes)
    batches = batches_of(sizes, SAMPLERS[sampler])
    start = [batches[0][: len(batches[0]) // 2]]
    for folder_bytes in (0, frames.num_bytes // 3):
        whole = count_feed(batches, frames, folder_bytes=folder_bytes, num_batches=len(batches[0]))
        part = count_feed(start, frames, folder_bytes=folder_bytes, num_batches=len(batches[0]))
        assert (part.is_sampled, whole.is_sampled, part.way) == (True, False, whole.way)
        assert part.later.num_bytes == pytest.approx(whole.later.num_bytes, rel=0.05)
        assert part.first.num_bytes == pytest.approx(whole.first.num_bytes, rel=0.05)
        assert part.num_frames == whole.num_frames


def test_speed_and_price_follow_from_requests_and_bytes():
    frames = cache_of([100] * 20)
    batches = batches_of([100] * 20, SAMPLERS["permutation"])
    feed = count_feed(batches, frames, folder_bytes=0, num_batches=len(batches[0]))
    speed = StoreSpeed(latency_seconds=0.03, bytes_per_second=90e6, connections=64)
    one = 0.03 + feed.first.num_bytes / feed.first.number / 90e6
    expected = 64 / one * feed.num_frames / feed.first.number
    assert speed.frames_per_second(feed, feed.first, num_processes=1) == pytest.approx(expected)
    assert speed.frames_per_second(feed, feed.first, num_processes=8) == pytest.approx(8 * expected)
    assert StorePrices(per_million_gets=0.4, per_gb=0.09).of(feed.first) == pytest.approx(
        feed.first.number * 0.4e-6 + feed.first.num_bytes * 0.09e-9
    )


def test_the_command_prints_it_for_a_cache_here_and_at_a_url(
    bias_caches, bucket_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mirrors"))
    monkeypatch.setattr(plan, "SECONDS_PER_ROUND", 0.02)
    cache = bias_caches["shuffled"]
    upload(cache, bucket_folder)
    flags = [
        "--plan",
        "--demand",
        "1",
        "--url",
        "--sampling",
        "permutation",
        "--rho",
        "0",
        "--batch-size",
        "16",
    ]
    flags += ["--folder-bytes", "1000000", "--dollars-per-million-gets", "0.5"]
    with open_store(cache) as store:
        batches, num_batches = batches_of_host(
            store, SamplingSpec(), world_size=1, ranks=1, batch_size=16, remainder=None
        )
        feed = count_feed(batches, stored_frames(store), folder_bytes=1_000_000, num_batches=num_batches)
    there = run(bucket_folder, *flags, "--json", command=cache_bias)
    assert not any(secret in there.output for secret in (ACCESS_KEY, SECRET_KEY, "127.0.0.1"))
    found = json.loads(there.stdout)["store"][0]
    assert found["cache"] == bucket_folder
    for epoch, requests in (("first_epoch", feed.first), ("later_epochs", feed.later)):
        assert (found[epoch]["gets"], found[epoch]["num_bytes"]) == (requests.number, requests.num_bytes)
        assert found[epoch]["dollars"] == pytest.approx(requests.number * 0.5e-6)
    text = run(cache, *flags, command=cache_bias).stdout
    assert "from an object store, for each host of 1 rank: folder_bytes of 0.001 GB" in text
    row = next(line for line in text.splitlines() if line.startswith("permutation ") and feed.way in line)
    assert f"{feed.later.number:.0f} " in row


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (["--url"], "--url belongs to --plan"),
        (["--plan", "--demand", "1", "--folder-bytes", "5"], "--folder-bytes belongs to --plan --url"),
        (["--plan", "--demand", "1", "--url", "--ranks-per-host", "2"], "does not divide --world-size 1"),
        (["--plan", "--demand", "1", "--url", "--clip-frames", "2"], "leave --weights"),
    ],
)
def test_flags_that_do_not_fit_are_refused(bias_caches, flags, what):
    result = run(bias_caches["video"], *flags, command=cache_bias)
    assert result.exit_code == 2 and what in result.stderr


def test_a_shard_that_some_batches_of_its_block_leave_out_is_downloaded_once():
    sizes = [64] * 24
    frames = cache_of(sizes)
    batches = batches_of(sizes, {"sampling": "block", "shards_per_block": 6}, batch_size=4)
    folder_bytes = int(0.9 * frames.num_bytes)
    feed = count_feed(batches, frames, folder_bytes=folder_bytes, num_batches=len(batches[0]))
    _, (first, later) = simulated(batches, frames, folder_bytes=folder_bytes)
    assert feed.way == "shards"
    assert [(each.number, each.num_bytes) for each in (feed.first, feed.later)] == [first, later]
    assert feed.first.number <= len(sizes) + 1
