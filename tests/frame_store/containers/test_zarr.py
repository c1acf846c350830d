"""Zarr caches of unknown origin: metadata and shard indexes are checked before zarr-python sees them."""

import json
import os
import pickle
import shutil

import pytest

from frame_store.codec import crc32c
from tests.support.caches.cache_edits import edit_generation
from tests.support.caches.golden_stores import GOLDEN_ENCODINGS
from tests.support.caches.tree import generation_folder, problems_inside
from tests.support.mutations.of_caches import (
    files_of,
    resign,
)

ZARR = [name for name, (container, _) in GOLDEN_ENCODINGS.items() if container == "zarr"]


class TestZarr:
    @pytest.mark.parametrize("name", ZARR)
    def test_metadata_of_an_older_version_that_names_pickle_runs_nothing(
        self, golden_cache_of, name, tmp_path
    ):
        class Harm:
            def __reduce__(self):
                return (os.system, (f"touch {tmp_path}/harmed",))

        cache = golden_cache_of(name)
        for metadata in cache.rglob("zarr.json"):
            metadata.unlink()
        (generation_folder(cache) / "frames.zarr/.zgroup").write_text('{"zarr_format": 2}')
        (generation_folder(cache) / "frames.zarr/video_id/.zarray").write_text(
            json.dumps(
                {
                    "zarr_format": 2,
                    "shape": [10],
                    "chunks": [10],
                    "dtype": "|O",
                    "order": "C",
                    "fill_value": 0,
                    "compressor": None,
                    "filters": [{"id": "pickle", "protocol": 5}],
                }
            )
        )
        (generation_folder(cache) / "frames.zarr/video_id/0").write_bytes(pickle.dumps([Harm()]))
        folder = generation_folder(cache)
        files = [path.relative_to(folder).as_posix() for path in files_of(folder)]
        edit_generation(
            cache,
            lambda m: m.update(
                files=[
                    {"name": name, "num_bytes": 0, "sha256": ""}
                    for name in files
                    if name != "generation.json" and "/c/" not in name.replace("video_id/c", "")
                ]
            ),
        )
        resign(cache)
        assert any("zarr.json: " in problem for problem in problems_inside(cache))
        assert not (tmp_path / "harmed").exists()

    @pytest.mark.parametrize("name", ZARR)
    @pytest.mark.parametrize(
        "change",
        [
            lambda m: m.update(shape=[10**12, 16, 24, 3]),
            lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[5, 16, 24, 3]),
            lambda m: m["codecs"].append({"name": "numcodecs.pickle"}),
            lambda m: m["codecs"][0]["configuration"].update(index_location="start"),
            lambda m: m.update(storage_transformers=[{"name": "x"}]),
            lambda m: m.update(fill_value=1),
            lambda m: m.update(surprise=1),
            lambda m: m.update(data_type="int16"),
            lambda m: m["codecs"][0]["configuration"]["codecs"][0].update(configuration={"endian": "big"}),
        ],
    )
    def test_metadata_say_what_the_generation_says(self, golden_cache_of, name, change):
        cache = golden_cache_of(name)
        path = generation_folder(cache) / "frames.zarr/frames/zarr.json"
        document = json.loads(path.read_bytes())
        change(document)
        path.write_text(json.dumps(document))
        resign(cache)
        problems = problems_inside(cache)
        assert len(problems) == 1 and problems[0].startswith("frames.zarr/frames/zarr.json: "), problems

    def test_metadata_nested_without_end_or_huge_are_problems(self, golden_cache_of):
        for content in (b"[" * 100_000, b" " * (1 << 20) + b"{}", b"[]", b"\xff"):
            cache = golden_cache_of("zarr-raw")
            (generation_folder(cache) / "frames.zarr/zarr.json").write_bytes(content)
            resign(cache)
            assert problems_inside(cache)[0].startswith("frames.zarr/zarr.json: ")
            shutil.rmtree(cache)

    @pytest.mark.parametrize("name", ZARR)
    def test_a_shard_index_that_points_elsewhere_names_the_frame(self, golden_cache_of, name):
        cache = golden_cache_of(name)
        shard = generation_folder(cache) / "frames.zarr/frames/c/1/0/0/0"
        sound = shard.read_bytes()
        for slot, word, value in ((2, 0, 2**63), (2, 0, 0), (2, 1, 2**40), (2, 1, 2**64 - 1)):
            content = bytearray(sound)
            at = len(content) - 4 - 16 * 4 + 16 * slot + 8 * word
            content[at : at + 8] = value.to_bytes(8, "little")
            content[-4:] = crc32c(content[-68:-4]).to_bytes(4, "little")
            shard.write_bytes(content)
            resign(cache)
            assert problems_inside(cache) == [
                "frames.zarr/frames/c/1/0/0/0: frame 6: lies elsewhere in the shard's index than in index.npy"
            ]
        content = bytearray(sound)
        content[-2] ^= 1
        shard.write_bytes(content)
        resign(cache)
        assert problems_inside(cache) == ["frames.zarr/frames/c/1/0/0/0: the crc32c of its index is wrong"]

    @pytest.mark.parametrize("array", ["video_id", "frame_in_video", "pts_seconds"])
    def test_a_side_array_that_differs_names_the_frame(self, golden_cache_of, array):
        cache = golden_cache_of("zarr-raw")
        path = generation_folder(cache) / f"frames.zarr/{array}/c/0"
        content = bytearray(path.read_bytes())
        content[7 * len(content) // 10] ^= 1
        path.write_bytes(content)
        resign(cache)
        assert problems_inside(cache) == [
            f"frames.zarr/{array}/c/0: differs from the index, first at frame 7"
        ]
