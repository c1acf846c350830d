"""`cache-info` of caches that have grown: generations, forgotten videos, older versions, and the list of tar shards."""

import json
import shutil
from collections import Counter
from pathlib import Path

import msgspec
import pytest
import webdataset

from cache_builder.cli import cache_info
from cache_builder.cli.exit_status import EXIT_WRONG_COMMAND
from cache_builder.findings import joined_fidelity
from frame_store import open_store
from frame_store.manifest import Fidelity, encode_manifest, many_generations_hint, read_manifest, read_tree
from frame_store.names import manifest_name
from frame_store.reader import CacheStore
from tests.support.caches.camera_cache import CAMERAS
from tests.support.caches.tree import write_generation_json
from tests.support.commands import run
from tests.support.grown.steps import commit
from tests.support.grown.written import GENERATIONS, write_grown

NUM_FRAMES = [sum(sizes) for sizes in GENERATIONS]


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    return write_grown(tmp_path_factory.mktemp("grown"))[0]


@pytest.fixture
def cache(grown, tmp_path):
    return shutil.copytree(grown, tmp_path / "cache")


def info(*arguments):
    return run(*arguments, command=cache_info)


def test_generations_are_a_table_and_figures_are_those_of_all(cache):
    tree = read_tree(cache)
    lines = info(cache).stdout.splitlines()
    assert lines[0] == f"{cache}: 47 frames of 8x12 RGB from 7 videos"
    head = next(number for number, line in enumerate(lines) if line.startswith("  generation "))
    table = [line.split() for line in lines[head + 1 : head + 4]]
    first_frame = first_video = 0
    for row, each, sizes, num_frames in zip(table, tree.generations, GENERATIONS, NUM_FRAMES, strict=True):
        num_shards = len(each.generation.shards)
        assert row[:6] == [
            each.folder,
            *map(str, (first_frame, num_frames, first_video, len(sizes), num_shards)),
        ]
        assert row[7:] == ["1", "build"]
        first_frame, first_video = first_frame + num_frames, first_video + len(sizes)
    num_bytes = sum(each.generation.num_bytes for each in tree.generations)
    assert f"  on disk    {num_bytes / 1e6:.1f} MB, {num_bytes / 47:.0f} bytes a frame" in lines
    assert f"  fingerprint {tree.fingerprint}" in lines
    assert "  version    2: manifest-0002.json is the newest manifest" in lines
    assert sum("column     action" in line for line in lines) == 1
    assert not any("forgotten" in line or "superseded" in line for line in lines)


def test_what_was_forgotten_and_superseded_is_said(cache):
    commit(cache, forgotten_videos=[0, 4], columns=[])
    lines = info(cache).stdout.splitlines()
    assert (
        "  forgotten  2 videos with 10 frames, which readers leave out: 'episode_000000', 'episode_000004'"
    ) in lines
    (line,) = [line for line in lines if line.startswith("  superseded")]
    assert line.startswith("  superseded 3 folders of earlier versions, 3 there with ")
    assert line.endswith(" MB; cache-compact --remove-superseded removes them")
    listed = info(cache, "--videos").stdout.splitlines()
    assert [
        line.endswith("  forgotten") for line in listed if "'episode_" in line and "leave out" not in line
    ] == [video in (0, 4) for video in range(7)]
    for folder in read_manifest(cache).superseded:
        shutil.rmtree(cache / folder)
    assert "  superseded 3 folders of earlier versions, all removed" in info(cache).stdout.splitlines()
    commit(cache, forgotten_videos=range(6))
    assert "'episode_000004', 1 other\n" in info(cache).stdout


def test_json_has_every_generation(cache):
    commit(cache, forgotten_videos=[4], content_orders=[])
    told = json.loads(info(cache, "--json").stdout)
    assert [each["first_frame"] for each in told["generations"]] == [0, 24, 36]
    assert [each["generation"]["num_frames"] for each in told["generations"]] == NUM_FRAMES
    assert told["totals"]["num_frames"] == 47 and told["totals"]["num_generations"] == 3
    assert told["totals"]["fingerprint"] == CacheStore(cache).fingerprint
    assert told["forgotten"] == [{"video_id": 4, "path": "episode_000004"}]
    assert len(told["videos"]) == 7 and len(told["columns"]) == 1
    assert len(told["superseded"]) == 3 and all(found["num_bytes"] > 100 for found in told["superseded"])


def test_fidelity_is_that_of_all_sampled_frames(cache):
    figures = [
        Fidelity(num_frames_sampled=number, psnr_db_of_mean_error=mean, psnr_db_worst_frame=mean - 2)
        for number, mean in ((10, 40.0), (30, 45.0), (5, 38.0))
    ]
    tree = read_tree(cache)
    entries = []
    for each, fidelity in zip(tree.generations, figures, strict=True):
        changed = msgspec.structs.replace(each.generation, fidelity=fidelity)
        entry = write_generation_json(cache, changed)
        entries.append(msgspec.structs.replace(each.entry, digest=entry.digest))
    manifest = msgspec.structs.replace(read_manifest(cache), generations=entries)
    (cache / manifest_name(manifest.version)).write_bytes(encode_manifest(manifest))
    expected = joined_fidelity(figures).psnr_db_of_mean_error
    assert f"  fidelity   PSNR {expected:.1f} dB over 45 frames, worst 36.0 dB" in info(cache).stdout
    assert 40 < expected < 43


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_plain_webdataset_reads_every_frame_of_the_listed_shards_once(cache):
    paths = info(cache, "--shards").stdout.splitlines()
    store = open_store(cache)
    assert len(paths) == len(store.shard_sizes) and all(Path(path).is_file() for path in paths)
    samples = list(webdataset.WebDataset(paths, shardshuffle=False).decode())
    assert len(samples) == len(store)
    # In the order of frame ids; keys begin at 0 in each generation, and a URL tells the generation.
    assert [sample["npy"].tobytes() for sample in samples] == [frame.tobytes() for frame in store]
    keys = Counter(sample["__key__"] for sample in samples)
    assert max(keys.values()) == len(GENERATIONS)
    assert len({(Path(sample["__url__"]).parents[1].name, sample["__key__"]) for sample in samples}) == 47
    first_frames = {each.entry.folder: each.entry.first_frame for each in store.generations}
    ids = [
        first_frames[Path(sample["__url__"]).parents[1].name] + int(sample["__key__"]) for sample in samples
    ]
    assert ids == list(range(47))


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_equal_keys_of_tars_that_follow_each_other_are_two_frames(tmp_path):
    cache, _ = write_grown(tmp_path, generations=[(1,), (1, 1), (1, 0)], columns=False, content=False)
    paths = info(cache, "--shards").stdout.splitlines()
    keys = [int(sample["__key__"]) for sample in webdataset.WebDataset(paths, shardshuffle=False)]
    assert keys == [0, 0, 1, 0]


def test_shards_are_refused_where_a_plain_reader_would_read_something_else(cache, tmp_path):
    commit(cache, forgotten_videos=[1, 4])
    refused = info(cache, "--shards")
    assert refused.exit_code == EXIT_WRONG_COMMAND
    assert "'episode_000001'" in refused.stderr and "'episode_000004'" in refused.stderr
    zarr, _ = write_grown(tmp_path / "zarr", container="zarr", columns=False, content=False)
    assert "is a Zarr cache, and --shards lists tar files" in info(zarr, "--shards").stderr
    assert "without --json" in info(zarr, "--shards", "--json").stderr
    assert "--camera is for --shards" in info(zarr, "--camera", "x").stderr
    assert "it is a cache without cameras" in info(cache, "--shards", "--camera", "x").stderr


def test_shards_of_cameras_are_those_of_one(tmp_path):
    cache, _ = write_grown(tmp_path, cameras=CAMERAS, content=False)
    assert "name it by --camera: 'front', 'wrist'" in info(cache, "--shards").stderr
    assert "no camera 'side'; it has 'front', 'wrist'" in info(cache, "--shards", "--camera", "side").stderr
    paths = info(cache, "--shards", "--camera", "wrist").stdout.splitlines()
    assert {Path(path).relative_to(cache).parts[0] for path in paths} == {"camera-01"}
    assert len(paths) == len(CacheStore(cache, camera="wrist").shard_sizes)
    text = info(cache).stdout
    assert text.count("  generation ") == 2 and text.count("version    2") == 1


def test_many_generations_are_worth_joining(tmp_path):
    cache, _ = write_grown(
        tmp_path, generations=[(number,) for number in range(1, 18)], columns=False, content=False
    )
    assert f"  {many_generations_hint(17)}\n" in info(cache).stdout + "\n"
