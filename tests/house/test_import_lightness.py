import importlib
import subprocess
import sys

import pytest

HEAVY = {"av", "click", "llvmlite", "numba", "torch", "torchvision", "webdataset", "zarr"}


def modules_after(code):
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", ["frame_store", "loader", "cache_builder"])
def test_importing_a_package_pulls_in_nothing_heavy(package):
    modules = modules_after(f"import {package}")
    assert package in modules
    assert not modules & HEAVY


def test_reading_a_cache_and_planning_batches_need_no_heavy_package():
    code = "from frame_store import open_store; from loader import epoch_order; epoch_order([9]).ids(0, 9)"
    assert not modules_after(code) & HEAVY


def test_the_values_of_an_augmentation_need_no_torch():
    assert not modules_after("from loader import ColorJitter, Normalize, RandomResizedCrop") & HEAVY


def test_frame_loader_and_augmentation_need_torch_alone():
    assert modules_after("from loader import Augmentation, FrameLoader, FrameDataset") & HEAVY == {"torch"}


def test_a_worker_of_a_build_reads_no_metadata_of_packages():
    """It would take memory and time of every process, as the package `crc32c` does."""
    assert "importlib.metadata" not in modules_after("import cache_builder.jobs")


def test_a_report_on_samplers_needs_no_torch():
    assert "torch" not in modules_after("import frame_cache_tools.bias.cli")


@pytest.mark.parametrize("package", ["cache_builder", "frame_store", "loader"])
def test_every_name_a_package_promises_is_there(package):
    loaded = modules_after(f"import {package}\nfor name in {package}.__all__: getattr({package}, name)")
    assert package in loaded


@pytest.mark.parametrize("package", ["frame_store", "loader", "cache_builder"])
def test_a_name_that_is_not_there_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match=f"{package}.*nonsense"):
        _ = importlib.import_module(package).nonsense
