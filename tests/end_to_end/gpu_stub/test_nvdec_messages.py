"""Messages of the GPU path where it cannot decode: the reason of the driver or FFmpeg, and the remedy."""

import warnings
from pathlib import Path

import msgspec
import pytest

from cache_builder import open_videos
from cache_builder.errors import DeviceError
from cache_builder.folder_scan.scan_cache import scan_videos
from cache_builder.gpu.nvdec import NvdecDevice, choose_backend
from cache_builder.gpu.probe import probe_nvdec
from cache_builder.sources import discover_videos
from cache_builder.video.decode.backend import CPU
from tests.support.commands import SMALL, run
from tests.support.executors.in_process_pool import InProcessPool
from tests.support.gpu.raw_nvdec import failure_of
from tests.support.videos.tiny_videos import tiny_video

CONTAINER_CURE = "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return tiny_video(tmp_path_factory.mktemp("videos"), num_frames=8)


# Called in processes on the stub.


def ask_for_the_gpu(folder):
    """Messages of `device="cuda"` for a script and for the command line, and of `device="auto"` for a script."""
    said = []
    command = run("--videos", folder, "--out", f"{folder}/cache", "--device", "cuda", *SMALL)
    return {
        "cuda": failure_of(lambda: open_videos(folder, device="cuda")),
        "command": [command.exit_code, command.stderr],
        "auto": [choose_backend("auto", notify=said.append) is CPU, said],
    }


def use_auto_without_a_gpu(folder, output):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store = open_videos(folder, device="auto", size=64)
        num_frames = len(store.read_frames([0, 1]))
        store.close()
    command = run("--videos", folder, "--out", output, "--device", "auto", *SMALL)
    return {
        "warnings": [str(warning.message) for warning in caught],
        "frames": num_frames,
        "command": [command.exit_code, command.stderr],
    }


def try_with_other_facts(folder):
    """Why the GPU refuses a video whose facts state smaller frames."""
    (video,) = discover_videos(Path(folder))
    (scan,) = scan_videos([video], cache_path=None, pool=InProcessPool())
    facts = msgspec.structs.replace(scan.facts, width=scan.facts.width - 16)
    return failure_of(lambda: probe_nvdec(video.path, facts, NvdecDevice()))


def try_on_the_gpu(folder):
    """Why the GPU refuses each video of a folder (None where it does not); and the result of `cache-build`."""
    reasons = {}
    videos = discover_videos(Path(folder))
    for video, scan in zip(videos, scan_videos(videos, cache_path=None, pool=InProcessPool()), strict=True):
        try:
            probe_nvdec(video.path, scan.facts, NvdecDevice())
            reasons[video.relative_path] = None
        except DeviceError as error:
            reasons[video.relative_path] = error.reason
    command = run("--videos", folder, "--out", f"{folder}/cache", "--device", "cuda", *SMALL)
    return {"reasons": reasons, "command": [command.exit_code, command.stderr]}


def check_refused(answers, *words):
    assert answers["cuda"]["error"] == "frame_store.errors.CudaUnavailableError"
    exit_code, stderr = answers["command"]
    is_cpu, said = answers["auto"]
    assert exit_code == 2 and "--device auto" in stderr
    assert is_cpu and len(said) == 1
    for word in words:
        assert word in answers["cuda"]["text"] and word in stderr and word in said[0]


def test_no_driver(stub_driver, no_real_driver, video):
    answers = stub_driver.call(ask_for_the_gpu, video.path.parent, folder=stub_driver.without_driver).value
    check_refused(answers, "libcuda.so.1", "library path", "--gpus all")


def test_no_decoder_in_the_driver(stub_driver, no_real_driver, video):
    answers = stub_driver.call(ask_for_the_gpu, video.path.parent, folder=stub_driver.without_nvcuvid).value
    check_refused(answers, "libnvcuvid.so.1", CONTAINER_CURE)


def test_no_device(stub_driver, video):
    answers = stub_driver.call(ask_for_the_gpu, video.path.parent, has_device=False).value
    check_refused(answers, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected")


def test_auto_without_a_gpu_decodes_on_the_cpu_and_says_why_once(stub_driver, video, tmp_path):
    answers = stub_driver.call(
        use_auto_without_a_gpu, video.path.parent, tmp_path / "cache", has_device=False
    ).value
    assert len(answers["warnings"]) == 1 and "CUDA_ERROR_NO_DEVICE" in answers["warnings"][0]
    assert answers["frames"] == 2
    exit_code, stderr = answers["command"]
    assert exit_code == 0 and stderr.count("decoding on the CPU") == stderr.count("CUDA_ERROR_NO_DEVICE") == 1


def test_a_codec_that_the_chip_lacks(stub_driver, video):
    answer = stub_driver.call(try_on_the_gpu, video.path.parent, unsupported=["h264"]).value
    assert "Hardware is lacking required capabilities" in answer["reasons"]["tiny.mp4"]


def test_frames_of_another_size_than_the_cpus_are_refused(stub_driver, video):
    failure = stub_driver.call(try_with_other_facts, video.path.parent).value
    assert failure["error"] == "cache_builder.errors.DeviceError"
    assert "its frames come out 160x96, on the CPU 144x96" in failure["text"]


def test_videos_that_the_gpu_refuses_are_told_from_those_that_it_takes(stub_driver, tmp_path):
    tiny_video(tmp_path, path=Path("av1.webm"), codec="av1", num_frames=2)
    tiny_video(tmp_path, path=Path("low.mp4"), num_frames=2, width=160, height=96)
    tiny_video(tmp_path, path=Path("square.mp4"), num_frames=2, width=128, height=128)
    tiny_video(tmp_path, path=Path("odd.webm"), codec="vp9", num_frames=2, width=161, height=131)
    answer = stub_driver.call(try_on_the_gpu, tmp_path, min_size=128).value
    reasons, (exit_code, stderr) = answer["reasons"], answer["command"]
    assert "no stream is compatible" in reasons["av1.webm"]  # FFmpeg decodes it in software alone
    assert "not within range from 128 to 8192" in reasons["low.mp4"]
    assert reasons["square.mp4"] is None
    assert "frames of an odd size (161x131) come out of it damaged" in reasons["odd.webm"]
    assert "3 of the videos cannot be decoded by the GPU" in stderr
    assert exit_code == 1 and "--device auto" in stderr
    assert "av1.webm: NVDEC" in stderr and "low.mp4: NVDEC" in stderr and "square.mp4" not in stderr
