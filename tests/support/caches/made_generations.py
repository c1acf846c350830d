"""Caches of several generations whose frames are made up, without any video: quick to put together and to join."""

import shutil
from pathlib import Path

from frame_store.manifest import Encoding
from tests.support.caches.camera_cache import write_camera_cache, write_plain_cache
from tests.support.caches.tree import change_generation
from tests.support.grown.steps import grow

SIZES_OF_GENERATIONS = ((5, 3), (1, 1, 1, 1), (2, 6, 1))
"""Decoded frames of each video of three generations. The second one stores all of them, also with a stride."""
VARIANTS = {
    "wds-raw": {},
    "wds-jpeg-strided": {"encoding": Encoding(name="jpeg", quality=95, chroma="444"), "stride": 2},
    "wds-videos-in-order": {"layout": "video", "stride": 3},
    "zarr-zstd": {"container": "zarr", "encoding": Encoding(name="zstd", level=3)},
    "zarr-raw-strided": {"container": "zarr", "stride": 2, "layout": "video"},
    "cameras": {},
}


def write_variant(path, variant, sizes, *, number=0):
    """A fresh cache of one generation; `number` counts the generations that have other videos."""
    names = [f"{number}/{video} ü.mp4" for video in range(len(sizes))]
    if variant == "cameras":
        write_camera_cache(path, sizes=sizes, names=[names] * 2, with_spans=False)
    else:
        options = {"camera": number, "sizes": sizes, "names": names, "with_spans": False}
        write_plain_cache(path, **options, **VARIANTS[variant])
    return path


def write_grown(path, variant="wds-raw", sizes_of_generations=SIZES_OF_GENERATIONS, finish=lambda _: None):
    """A cache of a generation for each entry of `sizes_of_generations`, as that many appends leave it.

    `finish` gets the cache of each generation before it is appended.
    """
    path = Path(path)
    for number, sizes in enumerate(sizes_of_generations):
        append_variant(path, variant, sizes, number=number, finish=finish)
    return path


def append_variant(path, variant, sizes, *, number, finish=lambda _: None):
    """Append a generation, or write the first one."""
    made = path if number == 0 else path.with_name(f"{path.name}.{number}.made")
    write_variant(made, variant, sizes, number=number)
    finish(made)
    if number:
        grow(path, made)
        shutil.rmtree(made)


def write_grown_by_video(path):
    """As `write_grown`, with a shard for each video: four videos of three frames, in two generations."""
    for number in range(2):
        made = path if number == 0 else path.with_name("second.made")
        names = [f"{number}{video}.mp4" for video in range(2)]
        write_plain_cache(
            made,
            camera=number,
            sizes=(3, 3),
            names=names,
            layout="video",
            frames_per_shard=3,
            with_spans=False,
        )
        change_generation(made, config={"frames_per_shard": "video"})
        if number:
            grow(path, made)
    return path
