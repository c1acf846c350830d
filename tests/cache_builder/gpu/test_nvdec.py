"""NVDEC without a driver: arguments, messages, and decoders chosen by name."""

import pickle
import warnings

import msgspec
import numpy as np
import pytest

import cache_builder
from cache_builder.build.pipeline import run_build
from cache_builder.errors import ConfigError, DeviceError, VideosNotWholeError
from cache_builder.folder_scan.scan_cache import scan_videos
from cache_builder.gpu import nvdec as nvdec_module
from cache_builder.gpu.nvdec import NvdecDevice, choose_backend
from cache_builder.gpu.probe import probe_nvdec
from cache_builder.settings import BuildSettings, resolve
from cache_builder.sources import discover_videos
from cache_builder.video.decode.backend import CPU
from cache_builder.video.decode.unit_decoder import VideoReader
from cache_builder.video.decode.units import gop_units
from frame_store.errors import CudaForkError, CudaUnavailableError
from frame_store.shared import cuda_guard
from tests.support.caches.tree import FIRST_MANIFEST
from tests.support.executors.in_process_pool import InProcessPool


class SoftwareDecoder(NvdecDevice):
    """A decoder chosen by name that needs no GPU."""

    def hwaccel(self):
        return None


@pytest.fixture
def no_driver(monkeypatch):
    monkeypatch.setattr(cuda_guard, "cuda_driver", lambda: None)


def refuse(*args, **kwargs):
    raise AssertionError("not to be called")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "cuda:x", "cuda:\u0661", "CUDA", "", "auto:0"])
def test_other_devices_are_refused_by_name(device, simple_folder):
    with pytest.raises(ValueError, match="cpu, cuda, cuda:N or auto") as caught:
        cache_builder.open_videos(simple_folder.path, device=device)
    assert repr(device) in str(caught.value)


def test_the_cpu_asks_nothing_of_the_driver(monkeypatch, simple_folder):
    monkeypatch.setattr(cuda_guard, "cuda_driver", refuse)
    assert choose_backend("cpu", notify=refuse) is CPU
    assert len(cache_builder.open_videos(simple_folder.path, device="cpu"))


def test_cuda_without_a_driver_is_an_error_that_says_so(no_driver, simple_folder):
    with pytest.raises(CudaUnavailableError, match=r"no NVIDIA driver: libcuda\.so\.1 .* --gpus all"):
        cache_builder.open_videos(simple_folder.path, device="cuda")


def test_auto_without_a_driver_says_why_once_and_decodes_on_the_cpu(no_driver, simple_folder):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store = cache_builder.open_videos(simple_folder.path, device="auto", size=32)
        store.read_frames(range(len(store)))
    (warning,) = caught
    assert "device='auto': decoding on the CPU: no NVIDIA driver" in str(warning.message)
    assert warning.filename == __file__
    assert type(store) is cache_builder.LiveStore and store.may_cross_fork


def test_auto_does_not_hide_a_fork(monkeypatch, simple_folder):
    def forked(ordinal=0):
        raise CudaForkError("forked")

    monkeypatch.setattr(nvdec_module, "check_cuda_usable_here", forked)
    with pytest.raises(CudaForkError):
        cache_builder.open_videos(simple_folder.path, device="auto")


def test_building_on_a_gpu_that_is_not_there(no_driver, simple_folder, tmp_path):
    config, options = resolve(BuildSettings(device="cuda", size=32))
    with pytest.raises(ConfigError, match=r"device='cuda': no NVIDIA driver.*device='auto'"):
        run_build(simple_folder.path, tmp_path / "cache", config, options)
    assert not list(tmp_path.iterdir())


def test_a_build_with_auto_and_no_gpu_is_the_cpus_to_the_byte(no_driver, simple_folder, tmp_path):
    notes = []

    class Notes:
        def start(self, stage, total, unit): ...
        def advance(self, steps): ...
        def note(self, line):
            notes.append(line)

    for device in ("cpu", "auto"):
        config, options = resolve(BuildSettings(device=device, size=32, workers=1))
        report = run_build(simple_folder.path, tmp_path / device, config, options, progress=Notes())
        assert report.num_frames_decoded_on_device is None
    (note,) = [note for note in notes if "on the CPU" in note]
    assert note.startswith("decoding on the CPU: no NVIDIA driver") and "--device" not in note
    manifests = [(tmp_path / device / FIRST_MANIFEST).read_bytes() for device in ("cpu", "auto")]
    assert manifests[0] == manifests[1]


def test_a_decoder_by_name_must_be_there_and_is_for_a_gpu(simple_folder):
    with pytest.raises(ValueError, match="h264_nonsense"):
        cache_builder.open_videos(simple_folder.path, device="cuda", decoder="h264_nonsense")
    with pytest.raises(ValueError, match=r"h264_cuvid.*is for a GPU, and device is 'cpu'"):
        cache_builder.open_videos(simple_folder.path, decoder="h264_cuvid")
    assert NvdecDevice(decoder="h264_cuvid").decoder == "h264_cuvid"


def scanned(folder):
    videos = discover_videos(folder)
    return list(zip(videos, scan_videos(videos, cache_path=None, pool=InProcessPool()), strict=True))


def all_units(reader, units):
    return [
        (frame.packet, frame.pts, frame.frame.to_ndarray(format="rgb24"))
        for unit in units
        for frame in reader.decode(*unit)
    ]


def test_a_decoder_by_name_gives_the_frames_of_the_streams_own(simple_folder):
    for video, scan in scanned(simple_folder.path):
        units = list(gop_units(scan.packets))[::-1]  # from the last to the first: each after a seek
        named = SoftwareDecoder(decoder="h264")
        with VideoReader(video.path, scan) as own, VideoReader(video.path, scan, backend=named) as by_name:
            expected, found = all_units(own, units), all_units(by_name, units)
        assert [frame[:2] for frame in found] == [frame[:2] for frame in expected]
        np.testing.assert_array_equal([frame[2] for frame in found], [frame[2] for frame in expected])


def test_a_decoder_by_name_is_for_videos_of_its_codec(simple_folder):
    video, scan = scanned(simple_folder.path)[0]
    reader = VideoReader(video.path, scan, backend=SoftwareDecoder(decoder="hevc"))
    with reader, pytest.raises(DeviceError, match="hevc is not a decoder for h264"):
        list(reader.decode(0, len(scan.packets)))


@pytest.mark.parametrize("is_missing", [False, True])
def test_a_decoder_by_name_refuses_videos_whose_pts_tell_nothing(simple_folder, is_missing):
    from cache_builder.video.packets.table import NO_PTS

    video, scan = scanned(simple_folder.path)[0]
    scan.packets.pts.flags.writeable = True
    scan.packets.pts[3] = NO_PTS if is_missing else scan.packets.pts[4]
    reader = VideoReader(video.path, scan, backend=SoftwareDecoder(decoder="h264"))
    with reader, pytest.raises(DeviceError, match="timestamps do not identify"):
        list(reader.decode(0, len(scan.packets)))


def test_frames_in_the_cpus_memory_are_no_proof_of_a_gpu(simple_folder):
    video, scan = scanned(simple_folder.path)[0]
    device = SoftwareDecoder(decoder="h264")
    with pytest.raises(DeviceError, match="decoded by software, to yuv420p"):
        probe_nvdec(video.path, scan.facts, device)


@pytest.mark.parametrize("pixel_format", ["gray", "yuv422p", "yuv444p10le", "rgb24", "bgra"])
def test_only_colour_in_420_is_taken_over(simple_folder, pixel_format):
    video, scan = scanned(simple_folder.path)[0]
    facts = msgspec.structs.replace(scan.facts, pixel_format=pixel_format)
    with pytest.raises(DeviceError, match=f"NVDEC: {pixel_format} frames are not taken over"):
        probe_nvdec(video.path, facts, NvdecDevice())


def test_errors_cross_processes():
    error = pickle.loads(pickle.dumps(DeviceError("a.mp4", "NVDEC: no")))
    assert type(error) is DeviceError and (error.path, error.reason) == ("a.mp4", "NVDEC: no")
    assert isinstance(pickle.loads(pickle.dumps(CudaForkError("x"))), CudaForkError)


def test_a_build_that_must_not_fall_back_lists_every_video_that_the_gpu_refuses(
    simple_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "cache_builder.inputs.preparation.choose_backend", lambda *_, **__: SoftwareDecoder(decoder="h264")
    )
    config, options = resolve(BuildSettings(device="cuda", size=32, workers=1))
    with pytest.raises(VideosNotWholeError) as caught:
        run_build(simple_folder.path, tmp_path / "cache", config, options)
    assert len(caught.value.problems) == 3
    assert all("NVDEC: decoded by software" in problem for problem in caught.value.problems)
    assert "device='auto'" in str(caught.value)


def test_a_build_that_may_fall_back_says_why_in_the_report(simple_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "cache_builder.inputs.preparation.choose_backend", lambda *_, **__: SoftwareDecoder(decoder="h264")
    )
    config, options = resolve(BuildSettings(device="auto", size=32, workers=1))
    report = run_build(simple_folder.path, tmp_path / "cache", config, options)
    assert report.num_frames_decoded_on_device is None
    for video in report.videos:
        assert video.verdict == "whole"
        assert any(note.startswith("decoded on the CPU: NVDEC: decoded by software") for note in video.notes)
