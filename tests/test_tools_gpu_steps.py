"""The steps of `gpu_acceptance` with the CPU in the GPU's place. No time is judged."""

import ctypes
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from frame_cache_tools import gpu_copies, gpu_fork_rows
from frame_cache_tools.bench.measure.rounds import Rounds
from frame_cache_tools.bench.measure.slices import Slice
from frame_cache_tools.gpu_builds import compare_caches
from frame_cache_tools.gpu_caps import CodecSupport, DecoderCaps
from frame_cache_tools.gpu_copies import Wanted, report
from frame_cache_tools.gpu_correctness import Verdict, _should_decode, check_video
from frame_cache_tools.gpu_feeds import FRAME_BYTES, StretchedStore, endless, naive_upload
from frame_cache_tools.gpu_findings import Findings, Skip, StepContext, read_findings
from frame_cache_tools.gpu_fork import ROWS, are_frames, is_exercise_error, is_fork_error
from frame_cache_tools.gpu_model import Marks, Training, Window, make_foods, resident, train
from frame_cache_tools.gpu_planes import (
    _downloaded,
    compare_planes,
    planes_on_cpu,
    semi_planar,
)
from frame_cache_tools.gpu_resnet import make_resnet18, make_tiny
from frame_cache_tools.gpu_samples import Samples, mixed_specs
from frame_cache_tools.gpu_subjects import (
    LoopedVideo,
    batches_subject,
    copy_limit,
    gather_limit,
    nvdec_subject,
)
from frame_cache_tools.gpu_throughput import (
    DECODE,
    LIVE,
    PINNED,
    RAW,
    make_subjects,
    report_ratios,
    report_rows,
)

from cache_builder import open_videos
from frame_store import open_store
from frame_store.manifest import Encoding
from loader import FrameLoader
from tests.support.caches.golden_stores import write_store
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

NUM_FRAMES = 11


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Eleven raw frames of 16 x 24 in shards of four."""
    path = tmp_path_factory.mktemp("cache") / "raw"
    frames = np.random.default_rng(0).integers(0, 256, (NUM_FRAMES, 16, 24, 3), np.uint8)
    write_store(path, "wds", Encoding(name="raw"), frames)
    return path


@pytest.fixture
def findings(tmp_path):
    """Of one step, to be read by `found`."""
    return Findings("step", tmp_path / "results")


@pytest.fixture
def found(tmp_path):
    return lambda: {finding.name: finding for finding in read_findings(tmp_path / "results")}


# -- feeds


@pytest.mark.parametrize("num_frames", [5, 11, 40])
def test_a_stretched_store_is_its_cache_over_and_over(cache, num_frames):
    with (
        closing(open_store(cache)) as plain,
        closing(StretchedStore(open_store(cache), num_frames=num_frames)) as store,
    ):
        assert len(store) == num_frames == store.shard_sizes.sum() == len(store.index)
        assert (store.shard_sizes > 0).all()
        ids = np.arange(num_frames)[::-1]
        expected = plain.read_frames(ids % NUM_FRAMES)
        np.testing.assert_array_equal(store.read_frames(ids), expected)
        assert (store.index["slot"][ids] == plain.index["slot"][ids % NUM_FRAMES]).all()
        batches = list(FrameLoader(store, batch_size=4, remainder="uneven", num_threads=1))
        assert sorted(torch.cat([batch.frame_ids for batch in batches]).tolist()) == list(range(num_frames))
        payloads = store.read_encoded(ids)
        assert [payload.tobytes() for payload in payloads] == [frame.tobytes() for frame in expected]
        with pytest.raises(IndexError):
            store.read_frames([num_frames])


def test_endless_batches_go_on_behind_an_epoch(cache):
    with closing(open_store(cache)) as store:
        batches = endless(FrameLoader(store, batch_size=8, remainder="uneven", num_threads=1))
        assert [len(next(batches)) for _ in range(5)] == [8, 3, 8, 3, 8]
        batches.close()


def test_the_naive_upload_makes_floats_in_0_to_1():
    frames = torch.tensor([[0, 51, 255]], dtype=torch.uint8)
    assert naive_upload(frames, "cpu")[0].tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert naive_upload(frames, "cpu").dtype == torch.float32


# -- planes and pictures


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
    folder = tiny_folder(tmp_path, (spec,))
    planes = list(planes_on_cpu(folder.path / spec.path))
    with av.open(str(folder.path / spec.path)) as container:
        frames = list(container.decode(video=0))
    assert [plane.pts for plane in planes] == [frame.pts for frame in frames]
    for ours, frame in zip(planes, frames, strict=True):
        expected = semi_planar(frame.reformat(format=theirs))
        np.testing.assert_array_equal(ours.luma, expected.luma)
        if codec != "vp9":  # of odd sizes swscale's nv12 has no last column
            np.testing.assert_array_equal(ours.chroma, expected.chroma)
    assert planes[0].chroma.shape == (-(-spec.height // 2), -(-spec.width // 2), 2)
    with pytest.raises(ValueError, match="rgb24 is not 4:2:0"):
        semi_planar(frames[0].reformat(format="rgb24"))


def test_where_planes_differ_first_is_found(simple_folder):
    path = simple_folder.path / simple_folder.specs[0].path
    planes = list(planes_on_cpu(path))
    same = compare_planes(planes, planes_on_cpu(path))
    assert same.is_equal and same.num_frames == 20
    assert same.text() == "20 frames equal, pts too"

    changed = [frame._replace(chroma=frame.chroma.copy()) for frame in planes]
    changed[7].chroma[3, 4, 1] ^= 6
    changed[9].chroma[0, 0, 0] ^= 2
    found = compare_planes(changed, planes)
    assert not found.is_equal
    assert (found.num_differing, found.num_missing, found.same_pts) == (2, 0, True)
    assert found.first_difference.startswith("frame 7: 1 samples of chroma, by up to")
    assert 2 <= found.largest_difference <= 6

    assert compare_planes(planes[:-1], planes).num_missing == 1
    assert compare_planes(planes[:5], planes, most_frames=5).is_equal
    late = [planes[0]._replace(pts=-5), *planes[1:]]
    assert (
        compare_planes(late, planes).text() == f"pts differ, first: frame 0 has pts -5, not {planes[0].pts}"
    )
    wide = [frame._replace(luma=frame.luma[:, :-1]) for frame in planes]
    assert "luma is uint8" in compare_planes(wide, planes).first_difference


def test_a_video_is_checked_all_over(tmp_path):
    folder = tiny_folder(tmp_path, simple_specs(1)[:1])
    verdict = check_video(folder.path, None, {})
    assert verdict.wrong == []
    assert [fact.partition(" ")[0] for fact in verdict.facts] == ["h264", "20", "full", "224:", "look-ups"]


def test_a_verdict_keeps_what_is_wrong_apart():
    verdict = Verdict()
    verdict.note("good")
    verdict.note("bad", holds=False)
    assert (verdict.facts, verdict.wrong) == (["good"], ["bad"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"width": 40}, False),
        ({"pixel_format": "yuv420p10le"}, False),
        ({"pixel_format": "yuv444p"}, False),
        ({"codec": "mjpeg"}, False),
    ],
)
def test_what_the_chip_promises(simple_folder, changes, expected):
    import msgspec

    with closing(open_videos(simple_folder.path)) as store:
        facts = msgspec.structs.replace(store.videos[0], **changes)
    support = CodecSupport(
        codec="h264",
        bit_depth=8,
        chroma="420",
        is_supported=True,
        num_engines=7,
        min_size=(48, 16),
        max_size=(4096, 4096),
    )
    assert _should_decode(facts, {("h264", 8): support, ("mjpeg", 8): support}) is expected
    assert not _should_decode(facts, {("h264", 8): replace(support, is_supported=False)})


def test_caches_are_compared_by_facts_and_noise(cache, tmp_path, findings, found):
    compare_caches(cache, cache, findings, name="same")
    with closing(open_store(cache)) as store:
        frames = store.read_frames(range(NUM_FRAMES))
    write_store(tmp_path / "near", "wds", Encoding(name="raw"), frames ^ 1)
    compare_caches(tmp_path / "near", cache, findings, name="near")
    write_store(tmp_path / "far", "wds", Encoding(name="raw"), 255 - frames)
    compare_caches(tmp_path / "far", cache, findings, name="far")
    write_store(tmp_path / "short", "wds", Encoding(name="raw"), frames[:-1])
    compare_caches(tmp_path / "short", cache, findings, name="short")
    assert found()["same: PSNR"].value == "equal"
    assert (found()["near: PSNR"].status, found()["near: PSNR"].value) == ("failed", 48.1)
    assert found()["far: PSNR"].value < 15
    assert found()["short: facts"].status == found()["short: frames"].status == "failed"


# -- throughput


def test_slices_count_images_and_time(cache, simple_folder):
    with batches_subject(
        lambda: nullcontext(FrameLoader(StretchedStore(open_store(cache), num_frames=4000), batch_size=4)),
        device="cpu",
    ) as measure:
        for _ in range(2):
            piece = measure(0.05)
            assert piece.images >= 4 and piece.images % 4 == 0
            assert 0.05 <= piece.seconds < 5
    paths = [simple_folder.path / spec.path for spec in simple_folder.specs]
    with nvdec_subject(paths, 2, nvdec=None) as measure:
        assert measure(0.05).images > 0
    with copy_limit(device="cpu", batch_size=1, pinned=True) as measure:
        assert measure(0.01).images % 16 == 0
    with gather_limit(cache, 2, batch_size=4) as measure:
        assert measure(0.01).images % 4 == 0


def test_a_looped_video_begins_again(simple_folder):
    video = LoopedVideo(simple_folder.path / simple_folder.specs[0].path, None)
    pts = [video.next_frame().pts for _ in range(50)]
    video.close()
    assert pts[:20] == pts[20:40] == sorted(pts[:20])
    assert pts[40:] == pts[:10]


def test_rows_have_names_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(Samples, "fast_paths", lambda _: [Path("a.mp4")])
    subjects = make_subjects(
        Samples(work=tmp_path), None, device="cpu", nvdec=None, quick=False
    )  # opens nothing
    names = [subject.name for subject in subjects]
    assert len(set(names)) == len(names) == 23
    ratio_rows = {f"{RAW}, batch 256", PINNED, DECODE.format(7), LIVE.format(14)}
    assert ratio_rows <= set(names)
    # With starts, warm-up and what opening takes it all fits the step.
    assert 3 * sum(subject.seconds for subject in subjects) < 60


def piece(rate):
    return Slice(images=int(rate), seconds=1.0, seconds_to_first_batch=None)


def test_ratios_are_taken_within_a_round_and_judged(findings, found):
    rounds = Rounds()
    for number, speed in enumerate((1, 10, 2)):  # the machine's
        for name, rate in (
            (f"{RAW}, batch 256", 800),
            (PINNED, 1000),
            (LIVE.format(1), 100),
            (LIVE.format(7), 200),
        ):
            rounds.slices.setdefault(name, {})[number] = piece(rate * speed)
    report_ratios(rounds, findings, quick=False)
    assert (found()["cached raw / pinned copy"].status, found()["cached raw / pinned copy"].value) == (
        "ok",
        0.8,
    )
    of_live = found()["cached raw / fastest live NVDEC at 224, in order"]
    assert (of_live.status, of_live.value) == ("failed", 4.0)
    assert found()["7 NVDEC threads / 1"].status == "skipped"


def test_rows_that_fail_or_find_no_time_are_told(tmp_path, monkeypatch, findings, found):
    monkeypatch.setattr(Samples, "fast_paths", lambda _: [Path("a.mp4")])
    subjects = make_subjects(Samples(work=tmp_path), None, device="cpu", nvdec=None, quick=False)
    rounds = Rounds(failures={subjects[0].name: "ValueError: no"})
    rounds.slices[PINNED] = {0: piece(1e6), 1: piece(3e6)}
    report_rows(subjects, rounds, findings)
    assert (found()[subjects[0].name].status, found()[subjects[0].name].detail) == ("error", "ValueError: no")
    assert found()[subjects[1].name].detail == "the step's time was up"
    assert found()[PINNED].value == 2e6
    assert f"{2e6 * FRAME_BYTES / 1e9:.1f} GB/s" in found()[PINNED].detail


# -- copies


def trace_of(monkeypatch, **num_bytes):
    events = [
        {"cat": "gpu_memcpy", "name": f"Memcpy {way} (Pinned -> Device)", "args": {"bytes": size}}
        for way, size in num_bytes.items()
    ]

    def profile_gpu(action, trace):
        action()
        return events

    monkeypatch.setattr(gpu_copies, "profile_gpu", profile_gpu)


def test_bytes_an_image_are_judged(monkeypatch, tmp_path, findings, found):
    context = StepContext(work=tmp_path)
    wanted = (
        Wanted(direction="HtoD", least=FRAME_BYTES, most=FRAME_BYTES * 1.01),
        Wanted(direction="DtoH", least=0, most=0),
    )
    for name, bytes_up, bytes_down in (
        ("good", FRAME_BYTES * 10 + 320, 0),
        ("float", FRAME_BYTES * 40, 0),
        ("lost", FRAME_BYTES * 10 - 1, 4),
    ):
        trace_of(monkeypatch, HtoD=bytes_up, DtoH=bytes_down)
        report(name, lambda: 10, wanted, context, findings)
    assert [found()[f"{name}: HtoD"].status for name in ("good", "float", "lost")] == [
        "ok",
        "failed",
        "failed",
    ]
    assert [found()[f"{name}: DtoH"].status for name in ("good", "float", "lost")] == ["ok", "ok", "failed"]
    assert found()["good: HtoD"].value == FRAME_BYTES + 32
    trace_of(monkeypatch)
    with pytest.raises(gpu_copies.ProfilerBlindError):
        report("blind", lambda: 10, wanted, context, findings)
    with pytest.raises(Skip):
        report("blind", lambda: 10, wanted, replace(context, device="cpu"), findings)


# -- the network


def test_training_learns_and_its_time_is_shared_out():
    torch.manual_seed(0)
    training = Training(make_tiny(), device="cpu", batch_size=4)
    with resident("cpu", 4, None) as batches, closing(endless(batches)) as food:
        before = [weights.detach().clone() for weights in training._model.parameters()]
        window = train(training, food, seconds=0.05, device="cpu")
    assert window.num_images % 4 == 0
    assert 0 < window.busy_seconds <= window.span_seconds <= window.seconds
    assert any(not torch.equal(*pair) for pair in zip(before, training._model.parameters(), strict=True))
    assert Window(num_images=1, seconds=9.0, busy_seconds=3.0, span_seconds=4.0).idle_share == 0.25


def test_marks_leave_out_what_is_between_steps(monkeypatch):
    times = iter((0.0, 3.0, 4.0, 6.0))
    monkeypatch.setattr("frame_cache_tools.gpu_model.time.perf_counter", lambda: next(times))
    marks = Marks("cpu")
    for _ in range(2):
        marks.begin()
        marks.end()
    assert marks.spans() == (5.0, 6.0)


def test_the_network_takes_the_images(tmp_path):
    torch.manual_seed(0)
    with torch.no_grad():
        assert make_resnet18(7).eval()(torch.rand(2, 3, 64, 64)).shape == (2, 7)
    foods = make_foods(Samples(work=tmp_path), device="cpu", batch_size=2)
    assert len({food.name for food in foods}) == 6
    with foods[1].feed() as batches:
        frames = next(iter(batches))
    assert (frames.dtype, frames.shape) == (torch.float32, (2, 3, 224, 224))


# -- samples, codecs and the fork


def test_samples_have_paths_of_their_own_and_every_codec():
    specs = mixed_specs(quick=False)
    assert len({spec.path for spec in specs}) == len(specs) > 40
    assert {spec.codec for spec in mixed_specs(quick=True)} == {"h264", "hevc", "vp9", "av1"}


def test_the_struct_of_capabilities_is_laid_out_as_the_driver_has_it():
    assert ctypes.sizeof(DecoderCaps) == 88
    assert [
        getattr(DecoderCaps, name).offset for name in ("is_supported", "output_formats", "max_width")
    ] == [
        24,
        26,
        28,
    ]
    assert (DecoderCaps.max_macroblocks.offset, DecoderCaps.min_width.offset) == (36, 40)


def test_every_row_of_the_fork_table_has_its_function():
    for row in ROWS:
        assert callable(getattr(gpu_fork_rows, row.function)), row.name
    assert {row.name[0] for row in ROWS} == set("123456")


def test_what_each_row_wants():
    exercise = {
        "error": "av.error.ExternalError",
        "text": "last error log: [CUDA] ",
        "log": "cu->cuInit(0) failed -> CUDA_ERROR_NOT_INITIALIZED: initialization error\n",
    }
    assert is_exercise_error(exercise)
    assert not is_exercise_error({**exercise, "log": ""})
    assert not is_exercise_error({**exercise, "error": "builtins.OSError"})
    assert not is_exercise_error({"result": "cuda"})
    assert is_fork_error({"error": "frame_store.errors.CudaForkError", "text": "a fork: threads or spawn"})
    assert not is_fork_error({"error": "frame_store.errors.CudaForkError", "text": "no"})
    assert are_frames({"result": "cuda"})
    assert not are_frames({"result": "yuv420p"})
    assert not are_frames({"error": "av.error.ExternalError"})


def test_samples_of_16_bits_come_down_as_they_are():
    samples = torch.tensor([[0, 64, 65472], [1, 2, 3]], dtype=torch.int32).to(torch.uint16)
    padded = torch.zeros((2, 8), dtype=torch.uint16)
    padded.view(torch.int16)[:, :3] = samples.view(torch.int16)
    array = _downloaded(padded[:, :3])
    assert (array.dtype, array.tolist()) == (np.uint16, [[0, 64, 65472], [1, 2, 3]])
