"""The check functions of the tests on a GPU, tested without one: on the CPU, and on a stub of the driver.

These tests are not marked `gpu`. They show that each check passes on good results and fails on wrong ones.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import av
import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from frame_cache_tools.bench.gpu.sources import decoded_frames
from frame_cache_tools.bench.machine.decoder_caps import ASKED, CodecSupport, DecoderCaps, ask_caps

from cache_builder import open_videos
from frame_store import open_store
from frame_store.manifest import Encoding
from frame_store.shared.cuda_driver import NVDEC_LIBRARY, load_library
from tests.gpu import test_fork
from tests.gpu.conftest import USERS_VIDEOS, all_specs, codec_specs, users_videos
from tests.gpu.planes import downloaded, planes_on_cpu, planes_on_gpu, semi_planar
from tests.gpu.test_builds import build, contents, psnr_between
from tests.gpu.test_correctness import (
    check_fall_back,
    check_look_ups,
    check_planes,
    difference,
    should_decode,
    sizes_to_compare,
)
from tests.support.caches.golden_stores import write_store
from tests.support.gpu.host_nvdec import HostNvdecDevice, open_on_stub
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

# Called in a process on the stub -------------------------------------------------------------------------------


def checks_on_the_stub(folder, path):
    nvdec, path = HostNvdecDevice(), Path(path)
    answers = ask_caps(load_library(NVDEC_LIBRARY), nvdec.check())
    try:
        check_planes(planes_on_gpu(path, nvdec), planes_on_cpu(path), "h264")
    except AssertionError as error:
        planes = str(error).partition("\n")[0]  # the stub gives other pictures
    same_planes = check_planes(planes_on_gpu(path, nvdec), planes_on_cpu(path), "mpeg4")
    with closing(open_on_stub(folder)) as store:
        check_look_ups(store)
    with closing(decoded_frames(path, nvdec, is_endless=True)) as frames:
        pts = [next(frames).pts for _ in range(40)]
    return {
        "caps": {f"{codec} {bits} {chroma}": each.text() for (codec, bits, chroma), each in answers.items()},
        "planes": planes,
        "same_planes": same_planes,
        "repeats": pts[:20] == pts[20:],
    }


def fall_back_on_the_stub(folder):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with (
            closing(open_on_stub(folder, falls_back=True)) as auto,
            closing(open_videos(folder, size=64)) as cpu,
        ):
            check_fall_back(auto, cpu, said)
    return True


def pyav_on_the_stub(path):
    videos = test_fork.RawVideosInOwnContext(path)
    with ThreadPoolExecutor(4) as threads:
        rows = list(threads.map(test_fork.decode_in_own_context, [path] * 4))
    return [*rows, test_fork.table.first_of_forked_worker(videos, multiprocessing_context="spawn")]


@pytest.fixture(scope="module")
def seen(stub_driver, simple_folder):
    run = stub_driver.call(
        checks_on_the_stub, simple_folder.path, simple_folder.specs[0].path, unsupported=("vp9",)
    )
    return run.value


def test_codecs_are_asked_of_the_driver(seen):
    assert len(seen["caps"]) == len(ASKED)
    assert seen["caps"]["h264 8 420"] == "yes, 7 engines, 16x16 to 8192x8192"
    assert seen["caps"]["vp9 8 420"] == seen["caps"]["h264 10 420"] == "no"


def test_planes_from_the_driver_are_compared_with_their_pts(seen):
    assert seen["planes"].startswith("frame 0, luma: ")
    assert seen["same_planes"] is False


def test_a_video_is_decoded_over_and_over(seen):
    assert seen["repeats"]


def test_pyav_decodes_in_threads_and_in_spawned_workers(stub_driver, simple_folder):
    rows = stub_driver.call(pyav_on_the_stub, simple_folder.specs[0].path).value
    assert [row["error"] for row in rows] == [None] * 5, rows


def test_a_refused_video_is_the_cpus(stub_driver, tmp_path):
    folder = tiny_folder(tmp_path, simple_specs(1))
    assert stub_driver.call(fall_back_on_the_stub, folder.path, unsupported=("h264",)).value
    # And a store that does not fall back is found.
    with closing(open_videos(folder.path, size=64)) as cpu, pytest.raises(AssertionError):
        check_fall_back(SimpleNamespace(read_frames=cpu.read_frames), cpu, said=[])


# On the CPU ----------------------------------------------------------------------------------------------------


def test_pictures_and_look_ups_are_checked(tmp_path):
    folder = tiny_folder(tmp_path, simple_specs(1))
    with closing(open_videos(folder.path, size=224)) as store:
        assert sizes_to_compare(store.facts_of_videos[0]) == [(96, 160), 224]
        assert difference(store, store) == (0, 0.0)
        check_look_ups(store)

        class Wrong:
            calls = 0

            def __len__(self):
                return len(store)

            def read_frames(self, ids):
                self.calls += 1
                return store.read_frames(ids) ^ (self.calls > 1)

        assert difference(Wrong(), store)[0] == 0
        with pytest.raises(AssertionError):
            check_look_ups(Wrong())


@pytest.mark.parametrize(
    ("codec", "pixel_format", "theirs"),
    [("h264", "yuv420p", "nv12"), ("hevc", "yuv420p10le", "p010le"), ("vp9", "yuv420p", "nv12")],
)
def test_planes_are_those_that_swscale_makes_without_touching_a_sample(tmp_path, codec, pixel_format, theirs):
    (spec,) = simple_specs(1)
    suffix = ".webm" if codec == "vp9" else ".mp4"
    size = {"width": 161, "height": 97} if codec == "vp9" else {}
    spec = replace(
        spec, path=Path(f"v{suffix}"), codec=codec, pixel_format=pixel_format, num_frames=5, **size
    )
    path = tiny_folder(tmp_path, (spec,)).path / spec.path
    planes = list(planes_on_cpu(path))
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert [plane.pts for plane in planes] == [frame.pts for frame in frames]
    for ours, frame in zip(planes, frames, strict=True):
        other = frame.reformat(format=theirs)
        expected = [np.frombuffer(plane, ours.luma.dtype).reshape(plane.height, -1) for plane in other.planes]
        height, width = ours.luma.shape
        np.testing.assert_array_equal(ours.luma, expected[0][:, :width])
        if codec != "vp9":  # of odd sizes swscale's nv12 has no last column
            np.testing.assert_array_equal(ours.chroma.reshape(height // 2, width), expected[1][:, :width])
    assert planes[0].chroma.shape == (-(-spec.height // 2), -(-spec.width // 2), 2)
    with pytest.raises(KeyError):
        semi_planar(frames[0].reformat(format="rgb24"))


def test_where_planes_differ_is_found(simple_folder):
    path = simple_folder.path / simple_folder.specs[0].path
    planes = list(planes_on_cpu(path))

    def check(ours, codec="h264"):
        return check_planes((each for each in ours), (each for each in planes), codec)

    assert check(planes)
    changed = [*planes]
    changed[7] = planes[7]._replace(chroma=planes[7].chroma ^ 2)
    with pytest.raises(AssertionError, match="frame 7, chroma"):
        check(changed)
    assert not check(changed, "mpeg4")
    for wrong in (planes[:-1], [planes[0]._replace(pts=-5), *planes[1:]]):
        with pytest.raises(AssertionError):
            check(wrong, "mpeg4")
    with pytest.raises(AssertionError):
        check([each._replace(luma=each.luma[:, :-1]) for each in planes], "mpeg4")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"width": 40}, False),
        ({"width": 161}, False),
        ({"pixel_format": "yuv420p10le"}, False),
        ({"pixel_format": "yuv444p"}, False),
        ({"codec": "mjpeg"}, False),
    ],
)
def test_what_the_chip_promises(simple_folder, changes, expected):
    with closing(open_videos(simple_folder.path)) as store:
        facts = msgspec.structs.replace(store.facts_of_videos[0], **changes)
    support = CodecSupport(is_supported=True, num_engines=7, min_size=(48, 16), max_size=(4096, 4096))
    answers = {("h264", 8, "420"): support, ("mjpeg", 8, "420"): support}
    assert should_decode(facts, answers) is expected
    assert not should_decode(facts, {("h264", 8, "420"): replace(support, is_supported=False)})


def test_builds_are_compared_by_bytes_and_by_frames(simple_folder, tmp_path):
    for name in ("one", "again"):
        build(simple_folder.path, tmp_path / name, "cpu", "--size", "64")
    assert contents(tmp_path / "one") == contents(tmp_path / "again")
    assert psnr_between(tmp_path / "one", tmp_path / "again") == float("inf")
    with closing(open_store(tmp_path / "one")) as store:
        frames = store.read_frames(range(20))
    for name, changed in (
        ("plain", frames),
        ("near", frames ^ 1),
        ("far", 255 - frames),
        ("short", frames[:-1]),
    ):
        write_store(tmp_path / name, "wds", Encoding(name="raw"), changed)
    assert psnr_between(tmp_path / "near", tmp_path / "plain") == pytest.approx(48.13, abs=0.01)
    assert psnr_between(tmp_path / "far", tmp_path / "plain") < 15
    with pytest.raises(AssertionError):
        psnr_between(tmp_path / "short", tmp_path / "plain")
    with pytest.raises(AssertionError, match=r"no NVIDIA driver|no GPU"):
        build(simple_folder.path, tmp_path / "gpu", "cuda")


def test_videos_for_the_gpu_have_paths_of_their_own_and_every_codec():
    specs = all_specs()
    assert len({spec.path for spec in specs}) == len(specs) > 40
    assert {spec.codec for spec in codec_specs()} == {"h264", "hevc", "vp9", "av1"}


def test_the_users_videos_are_checked_too(simple_folder, monkeypatch):
    monkeypatch.delenv(USERS_VIDEOS, raising=False)
    assert users_videos() == []
    monkeypatch.setenv(USERS_VIDEOS, str(simple_folder.path))
    assert users_videos() == [spec.path for spec in simple_folder.specs]


def test_the_struct_of_capabilities_is_laid_out_as_the_driver_has_it():
    import ctypes

    assert ctypes.sizeof(DecoderCaps) == 88
    offsets = {name: getattr(DecoderCaps, name).offset for name, _ in DecoderCaps._fields_}
    assert (offsets["is_supported"], offsets["output_formats"], offsets["max_width"]) == (24, 26, 28)
    assert (offsets["max_macroblocks"], offsets["min_width"]) == (36, 40)


def test_samples_of_16_bits_come_down_as_they_are():
    samples = torch.tensor([[0, 64, 65472], [1, 2, 3]], dtype=torch.int32).to(torch.uint16)
    padded = torch.zeros((2, 8), dtype=torch.uint16)
    padded.view(torch.int16)[:, :3] = samples.view(torch.int16)
    array = downloaded(padded[:, :3])
    assert (array.dtype, array.tolist()) == (np.uint16, [[0, 64, 65472], [1, 2, 3]])
