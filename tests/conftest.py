"""Profiles, the skip of GPU tests, a stub of NVIDIA's driver, and folders of videos that many tests read."""

import gc
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies

from frame_store.shared.cuda_driver import CUDA_LIBRARY, load_library
from tests.support.faults.shared_workers import own_workers, shared_workers
from tests.support.gpu.stub_driver import StubDriver, build_stub_driver, why_not_built
from tests.support.object_stores import RunningStore, no_seaweed_reason, running_seaweed
from tests.support.videos.tiny_videos import TinyFolder, simple_specs, tiny_folder

NUM_EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "100"))
settings.register_profile("local", deadline=None, max_examples=NUM_EXAMPLES)
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=NUM_EXAMPLES)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@settings(max_examples=1, database=None)
@given(strategies.none())
def _first_example(_nothing: None) -> None:
    pass


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu_items:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu_items:
            item.add_marker(
                pytest.mark.skip(reason="no NVIDIA GPU here (torch.cuda.is_available() is false)")
            )


def pytest_collection_finish() -> None:
    """Spare the garbage collector what all imports have made: many tests call it, and walk through all of that.

    Hypothesis registers a random generator at its first example. It asks the collector who holds the generator, and
    warns where it finds nobody. Frozen objects are not found, so that one example runs before they are frozen.
    """
    _first_example()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def workers_of_all_tests() -> Iterator[None]:
    """Builds in this process take over the worker processes of builds before them."""
    with shared_workers():
        yield


@pytest.fixture(scope="session", autouse=True)
def scheduling_of_all_tests() -> Iterator[None]:
    """No test may leave the process with another scheduling policy: see `scheduling_kept`."""
    yield
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.fixture
def workers_of_its_own(workers_of_all_tests: None) -> Iterator[None]:
    """Builds of this test start their own worker processes."""
    with own_workers():
        yield


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    """16 tiny videos of every codec, container and oddity. Read-only: copy what you want to change."""
    return tiny_folder(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="session")
def simple_folder(tmp_path_factory: pytest.TempPathFactory) -> TinyFolder:
    """Three plain H.264 videos of 20, 23 and 26 frames. Read-only."""
    return tiny_folder(tmp_path_factory.mktemp("simple"), simple_specs())


@pytest.fixture(scope="session")
def stub_driver(tmp_path_factory: pytest.TempPathFactory) -> StubDriver:
    """A stub of NVIDIA's driver, to call functions in processes that find it. Skips where there is no cc."""
    reason = why_not_built()
    if reason is not None:
        pytest.skip(reason)
    return build_stub_driver(tmp_path_factory.mktemp("stub_driver"))


@pytest.fixture
def no_real_driver() -> None:
    """Skips where NVIDIA's driver is installed: hiding the stub would show it."""
    if load_library(CUDA_LIBRARY) is not None:
        pytest.skip("NVIDIA's driver is installed here: a machine without one cannot be shown")


@pytest.fixture(params=[True], ids=["late"])
def streams(request, monkeypatch):
    """What `FrameLoader(device="cuda")` works on in this test."""
    import torch

    from loader import frame_loader
    from loader.gpu import device as device_choice
    from tests.support.gpu.device_streams import LateStreams

    stand_in = LateStreams(is_late=request.param)
    monkeypatch.setattr(
        device_choice, "usable_cuda_device", lambda device: torch.device("cuda", device.index or 0)
    )
    monkeypatch.setattr(frame_loader, "check_cuda_usable_here", lambda ordinal: None)
    monkeypatch.setattr(frame_loader, "CudaStreams", lambda device: stand_in)
    return stand_in


@pytest.fixture(scope="session")
def golden_caches(tmp_path_factory):
    """A small cache of every container and encoding. Read-only."""
    from tests.support.mutations.of_caches import write_golden_caches

    folder = tmp_path_factory.mktemp("caches")
    write_golden_caches(folder)
    return folder


@pytest.fixture
def golden_cache_of(golden_caches, tmp_path):
    """A copy of one of them, to spoil."""
    return lambda name: shutil.copytree(golden_caches / name, tmp_path / name)


@pytest.fixture(scope="session")
def bias_videos(tmp_path_factory):
    """A folder of videos of 60 to 210 frames, for `cache-bias`. Read-only."""
    specs = [*simple_specs(4, num_frames=60), *simple_specs(2, num_frames=200)]
    numbered = [
        replace(spec, path=spec.path.with_name(f"{number}.mp4"), video_number=number)
        for number, spec in enumerate(specs)
    ]
    return tiny_folder(tmp_path_factory.mktemp("videos"), tuple(numbered)).path


@pytest.fixture(scope="session")
def bias_caches(bias_videos, tmp_path_factory):
    """Caches of them by name: one shard a video, and shuffled. Read-only."""
    from tests.support.commands import SMALL, run

    top = tmp_path_factory.mktemp("caches")
    flags = {
        "video": ["--layout", "video", "--frames-per-shard", "video"],
        "shuffled": ["--frames-per-shard", "100"],
    }
    for name, extra in flags.items():
        assert run("--videos", bias_videos, "--out", top / name, *SMALL, *extra).exit_code == 0
    return {name: top / name for name in flags}


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    """A real object store on loopback, one for each process of the tests. `.ci/run` does not let it be missing."""
    reason = no_seaweed_reason()
    if reason is not None:
        if os.environ.get("REQUIRE_OBJECT_STORE"):
            pytest.fail(reason)
        pytest.skip(reason)
    with running_seaweed(tmp_path_factory.mktemp("seaweed")) as store:
        yield store


@pytest.fixture
def bucket_folder(
    seaweed: RunningStore, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The URL of an empty folder in an object store; the environment of this test names the store."""
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    return seaweed.url(f"{request.node.name[:40].strip('[]').replace('[', '-')}-{os.urandom(4).hex()}")
