"""A shard that is put into an object store whole or not at all, with a record, so that it is put once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
import numpy as np

from cache_builder.jobs.gather_places import GatherPlaces, ShardObjects
from cache_builder.jobs.objects import put_once, temporary_path
from cache_builder.jobs.records import read_record, write_record
from cache_builder.jobs.shard_receipts import WriteShard, shard_rows_path
from frame_store.containers import ShardFile, ShardReceipt
from frame_store.index import FrameIndex
from frame_store.names import INDEX_DTYPE

_NUM_RECORDS_AHEAD: Final = 16


class _PutShard(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a shard in the store."""

    plan: str
    """SHA-256 of the plan that it belongs to."""
    receipt: ShardReceipt
    e_tag: str | None
    rows: bytes
    """Of the index: `INDEX_DTYPE`."""


def put_shard(objects: ShardObjects, name: str, *, shard_id: int, write: WriteShard) -> ShardReceipt:
    """Write a shard and put it as the object `name` of the cache, unless an earlier run did and it is there unchanged.

    Raises:
        OSError: disk full or failing.
        ObjectStoreError: the store cannot be reached.
        OutputError: another process has published the cache meanwhile, with other content.
        What `write` raises.
    """
    key = objects.inside + name
    earlier = _record(objects, shard_id)
    if earlier is not None:
        there = objects.cache.find(key)
        if there is not None and (there.num_bytes, there.e_tag) == (earlier.receipt.num_bytes, earlier.e_tag):
            return earlier.receipt
    path = temporary_path(objects.work, key)
    try:
        with ShardFile(path) as file:
            rows, receipt = write(file)
        put = put_once(objects.cache, key, path)
    finally:
        path.unlink(missing_ok=True)
    record = _PutShard(plan=objects.plan_digest, receipt=receipt, e_tag=put.e_tag, rows=rows.tobytes())
    write_record(objects.records, _record_key(objects, shard_id), msgspec.msgpack.encode(record))
    return receipt


def rows_of_shards(places: GatherPlaces, num_shards: int) -> Iterator[FrameIndex]:
    """The rows of the index of each finished shard, in order.

    Raises:
        OSError: the disk fails, or a record of a shard in a store is gone.
        ObjectStoreError: the store cannot be reached.
    """
    objects = places.objects
    if objects is None:
        for shard_id in range(num_shards):
            yield np.load(shard_rows_path(places.receipts, shard_id), allow_pickle=False)
        return
    with ThreadPoolExecutor(_NUM_RECORDS_AHEAD) as threads:
        for start in range(0, num_shards, _NUM_RECORDS_AHEAD):
            shard_ids = range(start, min(start + _NUM_RECORDS_AHEAD, num_shards))
            for shard_id, record in zip(
                shard_ids, threads.map(lambda number: _record(objects, number), shard_ids), strict=True
            ):
                if record is None:
                    raise FileNotFoundError(f"the record of shard {shard_id} in the scratch is gone")
                yield np.frombuffer(record.rows, INDEX_DTYPE)


def _record(objects: ShardObjects, shard_id: int) -> _PutShard | None:
    """The record of a shard of this plan; None where there is none that is intact."""
    data = read_record(objects.records, _record_key(objects, shard_id))
    try:
        record = None if data is None else msgspec.msgpack.decode(data, type=_PutShard)
    except msgspec.MsgspecError:
        return None
    return record if record is not None and record.plan == objects.plan_digest else None


def _record_key(objects: ShardObjects, shard_id: int) -> str:
    return f"{objects.inside}{objects.plan_digest[:16]}/{shard_id:06d}.record"
