"""MosaicML Streaming and LitData over the same store and the same encoded frames, each in a process of its own.

    PEERS tests/campaigns/remote/peers.py write --cache CACHE --bucket FOLDER/bkt [--chunk-megabytes 16]
    PEERS tests/campaigns/remote/peers.py read mds|litdata --bucket NAME --local DIR [--decode] [--workers 2] ...

PEERS is the interpreter of an environment made by hand: pip install torch simplejpeg obstore mosaicml-streaming
litdata. `write` copies the JPEGs out of the tar shards of a cache into an MDS and a LitData data set, whose files are
the objects. `read` prints one line of JSON: frames, seconds from the start of the iteration to the last batch (worker
processes are started in between), seconds to the first batch, seconds of CPU with all workers, and the largest size of
the local folder. The variables of `slow_store` say where the store is. `read` imports nothing of this project.
"""

import argparse
import json
import os
import resource
import shutil
import sys
import tarfile
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")
BATCH_SIZE = 128
KINDS = ("mds", "litdata")


def payloads(cache: Path) -> Iterator[bytes]:
    for path in sorted(cache.glob("gen-*/shards/*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg") and (file := tar.extractfile(member)) is not None:
                    yield file.read()


def write(cache: Path, bucket: Path, chunk_bytes: int) -> None:
    from litdata.streaming.writer import BinaryWriter
    from streaming import MDSWriter

    for kind in KINDS:
        shutil.rmtree(bucket / kind, ignore_errors=True)
    with MDSWriter(out=str(bucket / "mds"), columns={"jpg": "bytes"}, size_limit=chunk_bytes) as mds:
        for payload in payloads(cache):
            mds.write({"jpg": payload})
    (bucket / "litdata").mkdir()
    lit = BinaryWriter(str(bucket / "litdata"), chunk_bytes=chunk_bytes)
    for number, payload in enumerate(payloads(cache)):
        lit[number] = {"jpg": payload}
    lit.done()
    lit.merge()


def sampled(dataset_type: Any, *, decodes: bool) -> Any:
    """The same data set, its samples as encoded bytes, or decoded."""
    if not decodes:

        class Raw(dataset_type):  # type: ignore[misc]
            def __getitem__(self, number: Any) -> bytes:
                payload: bytes = super().__getitem__(number)["jpg"]
                return payload

        return Raw
    import simplejpeg
    import torch

    class Decoding(dataset_type):  # type: ignore[misc]
        def __getitem__(self, number: Any) -> torch.Tensor:
            return torch.from_numpy(simplejpeg.decode_jpeg(super().__getitem__(number)["jpg"]))

    return Decoding


def lengths(samples: list[bytes]) -> list[int]:
    """In the worker: what the caller gets of a batch that is only fetched, so that no bytes cross between processes."""
    return [len(sample) for sample in samples]


def batches(options: argparse.Namespace) -> Iterable[Any]:
    loader = {"batch_size": BATCH_SIZE, "num_workers": options.workers}
    if options.workers:
        loader["prefetch_factor"] = options.prefetch
    if not options.decode:
        loader["collate_fn"] = lengths
    remote = f"s3://{options.bucket}/{options.kind}"
    if options.kind == "mds":
        import torch
        from streaming import StreamingDataset
        from streaming.base.util import clean_stale_shared_memory

        clean_stale_shared_memory()  # a run that was ended early leaves some, and the next one takes it for its own
        dataset = sampled(StreamingDataset, decodes=options.decode)(
            remote=remote,
            local=options.local,
            shuffle=True,
            shuffle_algo=options.shuffle,
            shuffle_block_size=options.block_frames,
            num_canonical_nodes=1,
            batch_size=BATCH_SIZE,
            predownload=options.predownload,
        )
        return torch.utils.data.DataLoader(dataset, **loader)
    import litdata
    from litdata.streaming import downloader

    # It fetches chunks with obstore, to which it does not say that the store of this campaign speaks plain HTTP.
    downloader._OBSTORE_CLIENT_OPTIONS = {**(downloader._OBSTORE_CLIENT_OPTIONS or {}), "allow_http": True}
    dataset = sampled(litdata.StreamingDataset, decodes=options.decode)(
        remote,
        cache_dir=options.local,
        shuffle=True,
        max_pre_download=options.pre_chunks,
        storage_options={"endpoint_url": os.environ["AWS_ENDPOINT_URL"]},
    )
    return litdata.StreamingDataLoader(dataset, **loader)


def folder_bytes(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_blocks * 512  # noqa: PTH116, PTH118
            except OSError:
                continue
    return total


def read(options: argparse.Namespace) -> dict[str, float]:
    shutil.rmtree(options.local, ignore_errors=True)
    os.makedirs(options.local)  # noqa: PTH103
    largest, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            largest[0] = max(largest[0], folder_bytes(Path(options.local)))

    source = batches(options)
    threading.Thread(target=watch, daemon=True).start()
    num_frames, first, started = 0, None, time.perf_counter()
    worked, iterator = time.process_time(), iter(source)
    for batch in iterator:
        first = first or time.perf_counter() - started
        num_frames += len(batch)
        if options.frames and num_frames >= options.frames:
            break
    seconds = time.perf_counter() - started
    ended.set()
    del iterator  # its workers end, and their time is known
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(each.ru_utime + each.ru_stime for each in used) - worked
    return {"frames": num_frames, "seconds": seconds, "first": first or 0.0, "cpu": cpu, "folder": largest[0]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    writing = actions.add_parser("write")
    writing.add_argument("--cache", type=Path, required=True)
    writing.add_argument("--bucket", type=Path, required=True)
    writing.add_argument("--chunk-megabytes", type=float, default=16)
    reading = actions.add_parser("read")
    reading.add_argument("kind", choices=KINDS)
    reading.add_argument("--bucket", required=True)
    reading.add_argument("--local", required=True)
    reading.add_argument("--decode", action="store_true")
    reading.add_argument("--frames", type=int, default=0)
    reading.add_argument("--workers", type=int, default=2)
    reading.add_argument("--prefetch", type=int, default=2, help="batches a worker makes ahead")
    reading.add_argument("--shuffle", default="py1e", help="shuffle_algo of MosaicML")
    reading.add_argument("--block-frames", type=int, help="shuffle_block_size of MosaicML")
    reading.add_argument("--predownload", type=int, help="frames that MosaicML downloads ahead, a worker")
    reading.add_argument(
        "--pre-chunks", type=int, default=2, help="chunks that LitData downloads ahead, a worker"
    )
    options = parser.parse_args()
    if options.action == "write":
        write(options.cache, options.bucket, int(options.chunk_megabytes * 1e6))
        return
    found = read(options)
    print(json.dumps(found), flush=True)
    sys.stdout.flush()
    os._exit(0)  # workers of a data set that was left early may hold an exit up


if __name__ == "__main__":
    main()
