"""The GPU rows of `cache-bench` without a GPU: on the CPU, or on a stub of the driver. No speed is asserted."""

import json
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from frame_cache_tools.bench import run as bench_run
from frame_cache_tools.bench.cases.cases import BenchPlan
from frame_cache_tools.bench.cases.sources import CachedFrames, LiveFrames, Lookahead
from frame_cache_tools.bench.cli import main
from frame_cache_tools.bench.gpu.cases import CACHE_ROWS, TRAINING, gpu_cases
from frame_cache_tools.bench.gpu.model import IDLE, Resident, Steps, Training, TrainingSource
from frame_cache_tools.bench.gpu.sources import (
    BuildSource,
    CopyLimit,
    Feed,
    GpuBatchesSource,
    LiveInOrderSource,
    NvdecSource,
    RepeatedStore,
)
from frame_cache_tools.bench.gpu.trace import kernel_share
from frame_cache_tools.bench.inputs import look_at_cache, prepare_videos
from frame_cache_tools.bench.machine import nvidia_smi
from frame_cache_tools.bench.measure.slices import SliceRule, keep_nothing
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.gpu.nvdec import NvdecDevice
from cache_builder.video.picture.geometry import FrameGeometry
from frame_store import open_store
from frame_store.manifest import Encoding
from loader import FrameLoader
from tests.gpu.copies import copied_bytes
from tests.support.caches.golden_stores import write_store
from tests.support.commands import run

NUM_FRAMES = 11
RULE = SliceRule(seconds=0.02, warm_batches=2)
GEOMETRY = FrameGeometry(height=64, width=64)


def measured(source, rule=RULE):
    piece = source.measure(rule, keep_nothing)
    assert piece.images > 0 and piece.seconds > 0
    return piece


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "raw"
    frames = np.random.default_rng(0).integers(0, 256, (NUM_FRAMES, 64, 64, 3), np.uint8)
    write_store(path, "wds", Encoding(name="raw"), frames)
    return path


# -- what is measured


@pytest.mark.parametrize("num_frames", [5, 11, 40])
def test_a_repeated_store_gives_its_cache_over_and_over(cache, num_frames):
    with (
        closing(open_store(cache)) as plain,
        closing(RepeatedStore(open_store(cache), num_frames=num_frames)) as store,
    ):
        assert len(store) == store.shard_sizes.sum()
        assert num_frames <= len(store) < num_frames + NUM_FRAMES
        ids = np.arange(len(store))[::-1]
        expected = plain.read_frames(ids % NUM_FRAMES)
        np.testing.assert_array_equal(store.read_frames(ids), expected)
        assert store.rows_of(ids).tobytes() == plain.rows_of(ids % NUM_FRAMES).tobytes()
        batches = list(FrameLoader(store, batch_size=4, remainder="uneven", num_threads=1))
        assert sorted(torch.cat([batch.frame_ids for batch in batches]).tolist()) == list(range(len(store)))
        payloads = store.read_encoded(ids)
        assert [payload.tobytes() for payload in payloads] == [frame.tobytes() for frame in expected]


def test_batches_of_caches_and_videos_are_counted(cache, simple_folder, tmp_path):
    feed = Feed(store=CachedFrames(path=cache), batch_size=4, device="cpu")
    assert measured(GpuBatchesSource(feed=feed)).images % 4 == 0
    live = LiveFrames(folder=simple_folder.path, geometry=GEOMETRY, scan_cache=tmp_path / "scan")
    measured(GpuBatchesSource(feed=replace(feed, store=live)))
    measured(LiveInOrderSource(store=live, num_threads=2), SliceRule(seconds=0.02))


def test_floats_made_on_the_host_are_in_0_to_1(cache):
    feed = Feed(store=CachedFrames(path=cache), batch_size=4, floats_on_host=True, device="cpu")
    with feed.open() as epoch, closing(epoch()) as batches:
        frames = next(batches)
    assert (frames.dtype, frames.shape) == (torch.float32, (4, 3, 64, 64))
    assert 0.9 < frames.max() <= 1 and 0 <= frames.min() < 0.1


def test_decoding_alone_copies_and_builds_are_measured(simple_folder):
    paths = tuple(spec.path for spec in simple_folder.specs)
    assert measured(NvdecSource(paths=paths, num_threads=2, nvdec=None)).figures == {}
    limit = CopyLimit(batch_size=1, is_pinned=True, device="cpu")
    assert measured(limit, SliceRule(seconds=0.01)).images % 16 == 0
    built = measured(BuildSource(videos=simple_folder.path, device="cpu"))
    assert (built.images, built.figures) == (69, {"frames decoded by NVDEC": 0.0})


def decoding_on_the_stub(path):
    return (
        NvdecSource(paths=(Path(path),), num_threads=3, nvdec=NvdecDevice())
        .measure(RULE, keep_nothing)
        .images
    )


def test_threads_decode_on_the_driver(stub_driver, simple_folder):
    done = stub_driver.call(decoding_on_the_stub, simple_folder.specs[0].path)
    assert done.value > 0
    assert done.num_calls["cuvidDecodePicture"] > done.value


def test_training_learns_and_its_idle_time_is_reported(cache):
    torch.manual_seed(0)
    training = Training(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 1000)), device="cpu", batch_size=4
    )
    before = [weights.detach().clone() for weights in training.model.parameters()]
    training.step(torch.randint(0, 256, (4, 3, 2, 2), dtype=torch.uint8))
    assert any(not torch.equal(*pair) for pair in zip(before, training.model.parameters(), strict=True))
    feed = Feed(store=CachedFrames(path=cache), batch_size=4, augmented=True, device="cpu")
    for food in (
        feed,
        Resident(batch_size=2, device="cpu"),
        Resident(batch_size=2, augmented=True, device="cpu"),
    ):
        figures = measured(TrainingSource(feed=food)).figures
        assert list(figures) == [IDLE]  # the profiler sees no kernels here
        assert 0 <= figures[IDLE] < 100


def test_idle_is_what_is_between_steps(monkeypatch):
    times = iter((-50.0, -40.0, 0.0, 3.0, 4.0, 6.0))
    monkeypatch.setattr("frame_cache_tools.bench.gpu.model.time.perf_counter", lambda: next(times))
    steps = Steps("cpu")
    for _ in range(3):
        with steps.step():
            pass
    assert steps.idle_share(2) == pytest.approx(1 / 6)


# -- the profiler's trace


def copied(name, num_bytes):
    return {"ph": "X", "cat": "gpu_memcpy", "name": name, "ts": 1.0, "dur": 2.0, "args": {"bytes": num_bytes}}


def test_copies_of_a_trace_are_summed_by_direction():
    copies = copied_bytes(
        [
            copied("Memcpy HtoD (Pinned -> Device)", 100),
            copied("Memcpy HtoD (Pageable -> Device)", 20),
            copied("Memcpy DtoH (Device -> Pageable)", 3),
            copied("Memcpy DtoD (Device -> Device)", 7),
            copied("Memcpy PtoP", 9),
            {"ph": "X", "cat": "cuda_runtime", "name": "cudaMemcpyAsync", "args": {"bytes": 1000}},
            {"ph": "X", "cat": "kernel", "name": "Memcpy HtoD look-alike", "args": {"bytes": 1000}},
            {"ph": "M", "name": "process_name"},
        ]
    )
    assert copies == {"HtoD": 120, "DtoH": 3, "DtoD": 7, "PtoP": 9}
    assert copies["HtoA"] == 0


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), min_size=1, max_size=12))
def test_the_share_of_kernels_is_that_of_the_microseconds_in_which_one_runs(spans):
    events = [{"cat": "kernel", "ts": start, "dur": length} for start, length in spans]
    events.append({"cat": "gpu_memcpy", "ts": 0, "dur": 1000})
    ticks = {tick for start, length in spans for tick in range(start, start + length)}
    whole = max(ticks) + 1 - min(ticks)
    assert kernel_share(events) == pytest.approx(len(ticks) / whole)
    assert kernel_share([events[-1]]) is None


# -- nvidia-smi

REPORT = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
    <driver_version>580.159.04</driver_version>
    <gpu id="0">
        <product_name>NVIDIA H100 80GB HBM3</product_name>
        <mig_mode><current_mig>Disabled</current_mig></mig_mode>
        <utilization><decoder_util>97 %</decoder_util><jpeg_util>N/A</jpeg_util></utilization>
    </gpu>
    <gpu id="1"><utilization><decoder_util>11 %</decoder_util></utilization></gpu>
</nvidia_smi_log>
"""


@pytest.fixture
def smi(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{REPORT}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return program


def test_nvidia_smi_reports_facts_of_the_first_gpu(smi):
    assert nvidia_smi.wanted_facts(nvidia_smi.read_report()) == {
        "driver": "580.159.04",
        "product": "NVIDIA H100 80GB HBM3",
        "MIG": "Disabled",
    }


def test_an_engine_is_watched_while_something_runs(smi, monkeypatch):
    monkeypatch.setattr(nvidia_smi, "_SECONDS_BETWEEN_READINGS", 0.01)
    import time

    with nvidia_smi.watching("decoder") as busy, nvidia_smi.watching("jpeg") as not_known:
        time.sleep(0.5)
    assert busy == {"decoder busy %": 97.0, "decoder busy %, most": 97.0}
    assert not_known == {}


def test_without_an_answer_of_nvidia_smi_nothing_is_known(smi, monkeypatch):
    smi.write_text("#!/bin/sh\nexit 9\n")
    with pytest.raises(nvidia_smi.SmiError, match="exit status 9"):
        nvidia_smi.read_report()
    monkeypatch.setattr(nvidia_smi, "_SECONDS_BETWEEN_READINGS", 0.01)
    with nvidia_smi.watching("decoder") as busy:
        pass
    monkeypatch.setenv("PATH", "")
    with pytest.raises(nvidia_smi.SmiError, match="not on the PATH"):
        nvidia_smi.read_report()
    assert busy == {}


# -- rows

TINY = ("--rounds", "2", "--seconds", "0.02", "--batch-size", "4", "--cache-frames", "60", "--copies", "3")


def plan():
    return BenchPlan(
        batch_size=4, num_cpus=2, seconds=0.02, lookahead=Lookahead(batches=2, max_bytes=1 << 20)
    )


def test_rows_have_names_of_their_own_and_their_limits_are_rows(simple_folder, golden_caches, tmp_path):
    videos = prepare_videos(simple_folder.path, tmp_path, at_least=3, most_bytes=None, clock=lambda: 0.0)
    folders = {"wds raw": "wds-raw", "wds jpeg 444": "wds-jpeg"}
    caches = [look_at_cache(golden_caches / folder, name=name) for name, folder in folders.items()]
    rows = gpu_cases(videos, caches, plan(), geometry=GEOMETRY, work=tmp_path)
    names = [row.name for row in rows]
    assert len(set(names)) == len(names) == 25
    assert all("gpu" in name.lower() for name in names)  # --only gpu names them all
    assert {row.limit for row in rows} - {None} <= set(names)
    assert {row.group for row in rows} == {"GPU", "limits"}
    of_caches = {row.name for row in rows if row.cache or row.name.startswith(f"{TRAINING}wds ")}
    assert of_caches == {name for of_cache in CACHE_ROWS.values() for name in of_cache}
    assert all(row.name in names for row in gpu_cases(None, [], plan(), geometry=GEOMETRY, work=tmp_path))


def test_a_run_gives_the_gpu_rows_their_figures(simple_folder, monkeypatch):
    """The CPU takes the place of the GPU, in the same rounds and processes."""
    monkeypatch.setattr(bench_run, "why_no_gpu_rows", lambda call, *, seconds: None)
    monkeypatch.setattr(
        bench_run, "gpu_cases", lambda *args, **options: gpu_cases(*args, **options, device="cpu")
    )
    only = ("--only", "to the GPU", "--only", "GPU: ResNet-18, wds", "--only", "NVDEC decodes alone, 1 ")
    result = run(*TINY, *only, "--videos", simple_folder.path, "--json", command=main)
    assert result.exit_code == 0, result.stderr
    values = json.loads(result.stdout)
    rows = {row["name"]: row for row in values["rows"]}
    assert {row["failure"] for row in rows.values()} == {None}, rows
    assert {"wds raw, to the GPU", "wds raw, floats to the GPU", "wds jpeg 444, to the GPU"} <= set(rows)
    assert rows["wds raw, to the GPU"]["ratio_to_limit"] > 0
    assert 0 <= rows["GPU: ResNet-18, wds raw"]["figures"][IDLE] < 100
    assert [cache["name"] for cache in values["caches"]] == ["wds jpeg 444", "wds raw"]


@pytest.mark.usefixtures("no_real_driver")
def test_without_a_gpu_its_rows_are_absent_and_the_report_has_the_reason(cache):
    plain = run(*TINY, "--cache", cache, "--only", "permutation", "--json", command=main)
    assert not any("gpu" in row["name"].lower() for row in json.loads(plain.stdout)["rows"])
    asked = run(*TINY, "--cache", cache, "--only", "NVDEC", "--only", "gpu", command=main)
    assert asked.exit_code == 1
    for pattern in ("NVDEC", "gpu"):
        assert f"left out: {pattern}: no NVIDIA driver: libcuda.so.1 is neither" in asked.stdout
