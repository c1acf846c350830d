"""What the wheel carries: packages, documents, presets and a description whose links lead somewhere."""

import email
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = "import setuptools.build_meta, sys; print(setuptools.build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built of a copy, as building writes beside the source; nothing is downloaded."""
    try:
        version = metadata.version("setuptools")
    except metadata.PackageNotFoundError:
        version = "0"
    if int(version.partition(".")[0]) < 77:
        pytest.skip(f"a wheel is built with setuptools 77 or later, found {version}")
    scratch = tmp_path_factory.mktemp("wheel")
    at_the_top = shutil.ignore_patterns(".*", "tests", "build", "dist", "demo", "*.egg-info")
    anywhere = shutil.ignore_patterns("__pycache__", "results")

    def ignored(folder, names):
        return anywhere(folder, names) | (at_the_top(folder, names) if Path(folder) == ROOT else set())

    shutil.copytree(ROOT, scratch / "source", ignore=ignored)
    built = subprocess.run(
        [sys.executable, "-c", BUILD, scratch],
        cwd=scratch / "source",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, built.stderr
    return scratch / built.stdout.splitlines()[-1]


def test_every_module_document_and_preset_is_in_it(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    folders = {"frame_store": "frame_store", "cache_builder": "cache_builder", "loader": "loader"}
    folders |= {"tools": "frame_cache_tools", "configs": "frame_cache_presets"}
    for folder, package in folders.items():
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".toml"} or path.name == "py.typed":
                assert f"{package}/{path.relative_to(ROOT / folder).as_posix()}" in names
    assert {"frame_store/FORMAT.md", "loader/bias/SAMPLING.md", "loader/augment/AUGMENTATION.md"} <= names
    assert not [
        name for name in names if name.split("/")[0] in {"tests", "tools", "configs", "build", "setup.py"}
    ]


def test_its_metadata_say_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        said = email.message_from_bytes(archive.read(name))
    assert said["Name"] == "frame-cache" and said["License-Expression"] == "Apache-2.0"
    assert {"Typing :: Typed", "Topic :: Multimedia :: Video"} <= set(said.get_all("Classifier"))
    assert said["Description-Content-Type"] == "text/markdown"
    description = said.get_payload()
    assert description.startswith("# frame-cache")
    (url,) = said.get_all("Project-URL")
    repository = url.removeprefix("Repository, ")
    assert repository.startswith("https://")
    assert f"[FORMAT.md]({repository}/blob/HEAD/frame_store/FORMAT.md)" in description
    assert "](" not in description.replace("](https://", "")


def test_a_preset_is_found_by_name_without_the_source(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/a.mp4").write_bytes(b"no video")
    command = "from cache_builder.cli.entry_points import cache_build; cache_build()"
    for config, said in [("exercise", "cannot be stored whole"), ("nosuch", "presets are clips, exercise,")]:
        ended = subprocess.run(
            [sys.executable, "-c", command, "videos", "--config", config, "--workers", "1"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ended.returncode in {1, 2} and said in ended.stderr
    code = "import cache_builder, frame_cache_presets; print(cache_builder.__file__, frame_cache_presets.__file__)"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
    )
    assert ended.stdout.decode().count(str(site)) == 2
