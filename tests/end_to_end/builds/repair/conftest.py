"""Caches to harm and to repair."""

import shutil

import pytest

from tests.end_to_end.builds.repair.repairs import KINDS
from tests.support.commands import SMALL, run


@pytest.fixture(scope="package")
def caches(simple_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches")
    for name, flags in KINDS.items():
        assert run("--videos", simple_folder.path, "--out", folder / name, *SMALL, *flags).exit_code == 0
    return folder


@pytest.fixture
def cache_of(caches, tmp_path):
    def copy(name):
        shutil.copy(caches / f"{name}.report.json", tmp_path)
        return shutil.copytree(caches / name, tmp_path / name)

    return copy
