"""One loader in a process of its own, in its own environment: see `bench_peers`.

It prints "ready", then answers every line "SECONDS" of its input with "rate IMAGES_PER_SECOND".
"""

import io
import random
import sys
import tarfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np

warnings.filterwarnings("ignore")
BATCH_SIZE = 128
NUM_WORKERS = 2
NUM_WARM_BATCHES = 8
"""Batches that were read ahead while another loader was measured must not count."""


def forever(batches):
    while True:
        yield from batches


def payloads(folder):
    for path in sorted(map(str, Path(folder).glob("jpg/*.tar"))):
        with tarfile.open(path) as tar:
            for member in tar:
                yield tar.extractfile(member).read()


def prepare(what, folder):
    if what == "npy":  # the pixels in one file, the JPEG frames in tars without anything beside them
        import frame_store

        raw, jpeg = (frame_store.open_store(f"{folder}/{name}") for name in ("raw", "jpeg"))
        pixels = np.lib.format.open_memmap(f"{folder}/raw.npy", "w+", np.uint8, (len(raw), *raw.frame_shape))
        Path(folder, "jpg").mkdir(exist_ok=True)
        for start in range(0, len(raw), 1000):
            ids = range(start, min(start + 1000, len(raw)))
            raw.read_frames(ids, pixels[start : start + len(ids)])
            with tarfile.open(
                f"{folder}/jpg/{start // 1000:05d}.tar", "w", format=tarfile.USTAR_FORMAT
            ) as tar:
                for frame_id in ids:
                    payload = jpeg.read_payload(frame_id)
                    member = tarfile.TarInfo(f"{frame_id:08d}.jpg")
                    member.size = len(payload)
                    tar.addfile(member, io.BytesIO(payload))
    elif what == "ffcv":
        from ffcv.fields import IntField, RGBImageField
        from ffcv.writer import DatasetWriter

        class Frames:
            pixels = np.load(f"{folder}/raw.npy", mmap_mode="r")

            def __len__(self):
                return len(self.pixels)

            def __getitem__(self, number):
                return np.array(self.pixels[number]), 0

        for mode in ("jpg", "raw"):
            fields = {"image": RGBImageField(write_mode=mode, jpeg_quality=95), "y": IntField()}
            DatasetWriter(f"{folder}/ffcv_{mode}.beton", fields, num_workers=2).from_indexed_dataset(Frames())
    else:
        from litdata.streaming.writer import BinaryWriter
        from streaming import MDSWriter

        with MDSWriter(out=f"{folder}/mds", columns={"jpg": "bytes"}) as writer:
            for payload in payloads(folder):
                writer.write({"jpg": payload})
        Path(folder, "lit").mkdir()
        writer = BinaryWriter(f"{folder}/lit", chunk_bytes="64MB")
        for number, payload in enumerate(payloads(folder)):
            writer[number] = {"jpg": payload}
        writer.done()
        writer.merge()


def batches_of(name, folder):
    kind, *rest = name.split("-")
    if name == "take":
        return take(np.load(f"{folder}/raw.npy", mmap_mode="r"))
    if name == "zarr-python":
        return fancy(folder)
    if kind == "ours":
        return ours(folder, *rest)
    if kind == "ffcv":
        return ffcv(folder, *rest)
    return {"wds": webdataset, "mds": mosaic, "litdata": litdata}[kind](folder)


def take(pixels):
    out, rng = np.empty((BATCH_SIZE, *pixels.shape[1:]), np.uint8), np.random.default_rng(0)
    while True:
        order = rng.permutation(len(pixels))
        for first in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
            yield np.take(pixels, order[first : first + BATCH_SIZE], axis=0, out=out, mode="clip")


def fancy(folder):
    import zarr

    (path,) = Path(folder, "zarr").glob("gen-*/frames.zarr")
    frames, rng = zarr.open_group(path, mode="r")["frames"], np.random.default_rng(0)
    while True:
        yield frames.oindex[np.sort(rng.choice(frames.shape[0], BATCH_SIZE, replace=False))]


def ours(folder, cache, sampling):
    import frame_store
    from loader import FrameLoader

    is_fast = cache == "jpegfast"  # the fast DCT, with which FFCV decodes; it is less exact
    store = frame_store.open_store(f"{folder}/{'jpeg' if is_fast else cache}")
    if is_fast:
        decode = store._codec._decode
        store._codec._decode = lambda payload, colours, _, *rest: decode(payload, colours, True, *rest)
    loader = FrameLoader(store, batch_size=BATCH_SIZE, sampling=sampling, remainder="drop")
    return (batch.frames for batch in forever(loader))


def ffcv(folder, mode):
    from ffcv.fields.rgb_image import SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import ToTensor

    loader = Loader(
        f"{folder}/ffcv_{mode}.beton",
        batch_size=BATCH_SIZE,
        num_workers=NUM_WORKERS,
        order=OrderOption.RANDOM,
        os_cache=True,
        drop_last=True,
        pipelines={"image": [SimpleRGBImageDecoder(), ToTensor()], "y": None},
    )
    return (frames for (frames,) in forever(loader))


def webdataset(folder):
    import simplejpeg
    import torch
    import webdataset as wds

    dataset = (
        wds.WebDataset(
            sorted(map(str, Path(folder).glob("jpg/*.tar"))),
            resampled=True,
            shardshuffle=False,
            nodesplitter=wds.split_by_node,
        )
        .shuffle(1000)
        .map(lambda sample: torch.from_numpy(simplejpeg.decode_jpeg(sample["jpg"])))
        .batched(BATCH_SIZE, collation_fn=torch.stack)
    )
    return iter(wds.WebLoader(dataset, batch_size=None, num_workers=NUM_WORKERS))


def decoding(dataset_type):
    """The same data set, its JPEG samples decoded."""
    import simplejpeg
    import torch

    class Decoding(dataset_type):
        def __getitem__(self, number):
            return torch.from_numpy(simplejpeg.decode_jpeg(super().__getitem__(number)["jpg"]))

    return Decoding


def mosaic(folder):
    import torch
    from streaming import StreamingDataset

    dataset = decoding(StreamingDataset)(
        local=f"{folder}/mds", shuffle=True, batch_size=BATCH_SIZE, shuffle_algo="py1e"
    )
    return forever(torch.utils.data.DataLoader(dataset, batch_size=BATCH_SIZE, num_workers=NUM_WORKERS))


def litdata(folder):
    import litdata as ld

    dataset = decoding(ld.StreamingDataset)(f"{folder}/lit", shuffle=True)
    return forever(ld.StreamingDataLoader(dataset, batch_size=BATCH_SIZE, num_workers=NUM_WORKERS))


def measure(batches, seconds):
    start = time.perf_counter()
    for _ in range(NUM_WARM_BATCHES):
        next(batches)
        if time.perf_counter() - start > seconds:  # too slow to have read ahead
            break
    num_images, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        num_images += len(next(batches))
    return num_images / (time.perf_counter() - start)


def measure_bare(frames, seconds, *, into_buffer):
    """simplejpeg alone, payloads in memory, 2 threads: to a new array each time, or to one buffer a thread."""
    import simplejpeg

    counts, start = [0] * NUM_WORKERS, time.perf_counter()

    def decode(thread):
        options = {"buffer": np.empty((224, 224, 3), np.uint8)} if into_buffer else {}
        chance = random.Random(thread)
        while time.perf_counter() - start < seconds:
            simplejpeg.decode_jpeg(chance.choice(frames), **options)
            counts[thread] += 1

    threads = [threading.Thread(target=decode, args=(number,)) for number in range(NUM_WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def main():
    name, folder = sys.argv[1:3]
    if name.startswith("prepare-"):
        prepare(name.removeprefix("prepare-"), folder)
        return
    if name.startswith("bare-"):
        frames = list(payloads(folder))
        rate = lambda seconds: measure_bare(frames, seconds, into_buffer=name == "bare-buffer")  # noqa: E731
    else:
        batches = batches_of(name, folder)
        rate = lambda seconds: measure(batches, seconds)  # noqa: E731
    print("ready", flush=True)
    for line in sys.stdin:
        print("rate", rate(float(line)), flush=True)


if __name__ == "__main__":
    main()
