"""Our NVDEC path from file to frames on the stub driver, whose pictures show their numbers: store, fallback, build."""

import warnings
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("torch")

import cache_builder.inputs.preparation
from cache_builder import open_videos
from cache_builder.build.pipeline import run_build
from cache_builder.errors import DeviceError
from cache_builder.gpu.convert import CudaFrameConverter
from cache_builder.gpu.nvdec import choose_backend
from cache_builder.settings import BuildSettings, resolve
from cache_builder.video.picture.convert import FrameConverter
from cache_builder.video.picture.geometry import FrameGeometry
from frame_store import open_store
from tests.support.faults.shared_workers import shared_workers
from tests.support.gpu.host_nvdec import HostNvdecDevice, open_on_stub
from tests.support.gpu.raw_nvdec import failure_of
from tests.support.gpu.stub_planes import expected_planes
from tests.support.lerobot.stretches import episode
from tests.support.videos.presentations import presentation
from tests.support.videos.tiny_videos import TINY_SPECS, damage_file, tiny_folder
from tests.support.videos.yuv_reference import through_filter

SIZE = 64
NUMBERS_REPEAT_AFTER = 32  # in open GOPs of these videos; see the stub
OPEN_GOP, ROTATED, TEN_BITS, FULL_RANGE, AV1 = (TINY_SPECS[number] for number in (0, 1, 6, 7, 11))


# Called in processes on the stub.


def spelled_frames(path):
    """Expected frames of a video: the stub's pictures, converted on the CPU."""
    (spec,) = (spec for spec in TINY_SPECS if spec.path.name == path.name)
    frames, number = [], 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for decoded in container.decode(stream):
            if decoded.key_frame and not spec.open_gop:
                number = 0
            picture = spelled_like(decoded, number % NUMBERS_REPEAT_AFTER)
            frames.append(converted(picture, decoded, stream.sample_aspect_ratio))
            number += 1
    return np.stack(frames)


def spelled_like(decoded, number):
    """The stub's picture `number` in the CPU's memory, with the properties of a decoded frame."""
    bit_depth = decoded.format.components[0].bits
    frame = av.VideoFrame(decoded.width, decoded.height, "nv12" if bit_depth == 8 else "p010le")
    planes = expected_planes(number, decoded.width, decoded.height, bit_depth=bit_depth)
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.frombuffer(memoryview(plane), values.dtype).reshape(len(values), -1)
        rows[:, : values[0].size] = values.reshape(len(values), -1)
    frame.colorspace, frame.color_range = decoded.colorspace, decoded.color_range
    return through_filter(frame, "setparams", "chroma_location=left")  # the meaning of H.264 and HEVC


def converted(frame, decoded, sample_aspect_ratio):
    converter = FrameConverter(
        FrameGeometry(height=SIZE, width=SIZE),
        presentation(decoded.rotation, sample_aspect_ratio),
    )
    return converter.convert(frame)


@shared_workers()
def use_the_stubs_gpu(folder, h264_folder, mixed_folder, damaged_folder, scratch):
    by_cuvid = open_on_stub(h264_folder, size=SIZE, decoder="h264_cuvid")
    return {
        **read_and_build(folder, scratch),
        **read_with_fallback(mixed_folder),
        **build_damaged(damaged_folder, Path(scratch)),
        **fail_on_the_way(h264_folder),
        **read_episodes(mixed_folder),
        "differences_by_cuvid": compare(by_cuvid, h264_folder)[0],
    }


def compare(store, folder):
    """Greatest mean difference of a frame for each video, with all frames read in random order; and the frames."""
    ids = np.random.default_rng(5).permutation(len(store))
    frames = np.empty((len(store), *store.frame_shape), np.uint8)
    for some in np.array_split(ids, 6):
        frames[some] = store.read_frames(some)
    differences = {}
    for video_id, facts in enumerate(store.videos):
        expected = spelled_frames(Path(folder) / facts.path)
        found = frames[store.index["video_id"] == video_id]
        assert found.shape == expected.shape, facts.path
        differences[facts.path] = np.abs(found - expected.astype(np.float32)).mean(axis=(1, 2, 3)).max()
    return {path: float(worst) for path, worst in differences.items()}, frames


def read_and_build(folder, scratch):
    """The frames of a store against the expected frames, and the frames of a build against them."""
    differences, frames = compare(open_on_stub(folder, size=SIZE), folder)
    report = {"differences": differences}
    settings = BuildSettings(encoding="raw", size=str(SIZE), layout="video", device="cuda", workers=1)
    cache_builder.inputs.preparation.choose_backend = lambda *_, **__: HostNvdecDevice()
    built = run_build(Path(folder), Path(scratch) / "cache", *resolve(settings))
    cache = open_store(Path(scratch) / "cache")
    report["decoded_on_device"] = built.num_frames_decoded_on_device
    report["is_cache_the_same"] = bool(np.array_equal(cache.read_frames(range(len(cache))), frames))
    report["gpu"] = cache.common.library_versions["GPU"]
    report["again"] = run_build(Path(folder), Path(scratch) / "cache", *resolve(settings)).status
    settings = settings.overridden_by(BuildSettings(device="cpu"))
    cache_builder.inputs.preparation.choose_backend = choose_backend
    report["on_cpu"] = failure_of(
        lambda: run_build(Path(folder), Path(scratch) / "cache", *resolve(settings))
    )
    return report


def fail_on_the_way(folder):
    """A GPU that fails after some frames: a store that falls back, and a store that may not."""
    convert, num_converted = CudaFrameConverter.convert, 0

    def convert_some(self, frame, out, **options):
        nonlocal num_converted
        num_converted += 1
        if num_converted > 30:
            raise DeviceError("video", "NVDEC: no surface left")
        return convert(self, frame, out, **options)

    CudaFrameConverter.convert = convert_some
    try:
        ids = np.arange(40)  # the first video
        store, on_cpu = open_on_stub(folder, size=SIZE, falls_back=True), open_videos(folder, size=SIZE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frames = store.read_frames(ids)
        strict = open_on_stub(folder, size=SIZE)
        return {
            "is_fallback_the_cpu": bool(np.array_equal(frames, on_cpu.read_frames(ids))),
            "fallbacks_on_the_way": store.fallbacks,
            "strict": failure_of(lambda: strict.read_frames(ids)),
        }
    finally:
        CudaFrameConverter.convert = convert


def build_damaged(folder, scratch):
    """A build of a damaged video, with the GPU and without: whether frames are equal, and the video's notes."""
    frames = []
    for device, choose in (("cpu", choose_backend), ("cuda", lambda *_, **__: HostNvdecDevice())):
        cache_builder.inputs.preparation.choose_backend = choose
        settings = BuildSettings(
            encoding="raw", size=str(SIZE), layout="video", device=device, workers=1, on_error="skip"
        )
        built = run_build(Path(folder), scratch / f"damaged_{device}", *resolve(settings))
        cache = open_store(scratch / f"damaged_{device}")
        frames.append(cache.read_frames(range(len(cache))))
    (video,) = built.videos
    return {
        "is_damage_the_same": bool(np.array_equal(*frames)),
        "damaged_verdict": video.verdict,
        "damaged_on_device": built.num_frames_decoded_on_device,
        "damaged_notes": video.notes,
    }


def read_with_fallback(folder):
    """A store that falls back, against the CPU's store: whether the AV1 video is equal, warnings, and counts."""
    store, on_cpu = open_on_stub(folder, size=SIZE, falls_back=True), open_videos(folder, size=SIZE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            is_same = (store.read_frames(range(len(store))) == on_cpu.read_frames(range(len(store)))).all(
                (1, 2, 3)
            )
    video_ids = store.index["video_id"]
    return {
        "same": [bool(is_same[video_ids == video_id].all()) for video_id in range(2)],
        "warnings": [str(warning.message) for warning in caught],
        "fallbacks": store.fallbacks,
    }


def read_episodes(folder):
    """Stretches of a video that the GPU decodes and of one that it does not, against the whole files."""
    whole = open_on_stub(folder, size=SIZE, falls_back=True)
    first_ids = np.cumsum(whole.shard_sizes) - whole.shard_sizes
    videos, expected = [], []
    for number, (video_id, first, end) in enumerate([(0, 9, 20), (1, 5, 8), (0, 3, 9), (1, 8, 15)]):
        ids = first_ids[video_id] + np.arange(first, end)
        path = Path(folder) / whole.videos[video_id].path
        videos.append(episode(path, number, whole.rows_of(ids)["pts_seconds"]))
        expected.append(ids)
    ids = np.concatenate(expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = open_on_stub(folder, size=SIZE, falls_back=True, videos=videos)
        frames = store.read_frames(range(len(store)))
        some = np.random.default_rng(3).permutation(len(store))
        return {
            "are_episodes_the_same": bool(np.array_equal(frames, whole.read_frames(ids))),
            "are_random_episodes_the_same": bool(np.array_equal(store.read_frames(some), frames[some])),
            "files_on_the_cpu": sum(store.fallbacks.values()),
        }


def check_episodes_in_one_file_are_decoded_by_one_decoder(report):
    assert report["are_episodes_the_same"]
    assert report["are_random_episodes_the_same"]
    assert report["files_on_the_cpu"] == 1


def check_store_gives_each_frame_as_the_gpu_decoded_it(report):
    assert len(report["differences"]) == 4
    assert max(report["differences"].values()) <= 0.05, report["differences"]
    assert len(report["differences_by_cuvid"]) == 3
    assert max(report["differences_by_cuvid"].values()) <= 0.05, report["differences_by_cuvid"]


def check_build_stores_the_same_and_counts_what_the_gpu_decoded(report, num_frames):
    assert report["is_cache_the_same"]
    assert report["decoded_on_device"] == num_frames
    assert "driver for CUDA" in report["gpu"]


def check_who_decoded_is_part_of_what_a_cache_is(report):
    assert report["again"] == "already complete"
    assert report["on_cpu"]["error"] == "cache_builder.errors.OutputError"
    assert "00_open.mkv: decoded by a GPU there, by the CPU now (device)" in report["on_cpu"]["text"]


def check_damage_is_for_the_cpu_to_say(report):
    assert report["damaged_verdict"] == "damaged" and report["is_damage_the_same"]
    assert report["damaged_on_device"] == 0
    notes = " ".join(report["damaged_notes"])
    assert "frames decoded on the CPU, as the GPU did not decode them cleanly: " in notes


def check_what_the_gpu_refuses_is_the_cpus_frames_and_the_reason_is_said_once(report):
    assert report["same"] == [False, True]
    (warning,), ((reason, count),) = report["warnings"], report["fallbacks"].items()
    assert "11_av1.webm" in warning and "no stream is compatible" in warning
    assert count == 1 and reason in warning


def check_a_gpu_that_gives_up_is_replaced_where_it_may_be(report):
    assert report["is_fallback_the_cpu"]
    assert report["fallbacks_on_the_way"] == {"NVDEC: no surface left": 1}
    assert report["strict"]["error"] == "cache_builder.errors.DeviceError"


def test_from_file_to_frames(stub_driver, tmp_path):
    (tmp_path / "out").mkdir()
    folder = tiny_folder(tmp_path / "videos", (OPEN_GOP, ROTATED, TEN_BITS, FULL_RANGE))
    mixed = tiny_folder(tmp_path / "mixed", (FULL_RANGE, AV1))
    damaged = tiny_folder(tmp_path / "damaged", (FULL_RANGE,))
    damage_file(damaged.path / FULL_RANGE.path)
    h264 = tiny_folder(tmp_path / "h264", (OPEN_GOP, ROTATED, FULL_RANGE))
    folders = (folder.path, h264.path, mixed.path, damaged.path, tmp_path / "out")
    report = stub_driver.call(use_the_stubs_gpu, *folders).value
    # One test, not three: in a parallel run each worker would repeat all of it.
    check_store_gives_each_frame_as_the_gpu_decoded_it(report)
    check_build_stores_the_same_and_counts_what_the_gpu_decoded(report, folder.num_frames)
    check_who_decoded_is_part_of_what_a_cache_is(report)
    check_damage_is_for_the_cpu_to_say(report)
    check_a_gpu_that_gives_up_is_replaced_where_it_may_be(report)
    check_what_the_gpu_refuses_is_the_cpus_frames_and_the_reason_is_said_once(report)
    check_episodes_in_one_file_are_decoded_by_one_decoder(report)
