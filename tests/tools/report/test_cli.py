"""`cache-report` as a command: its file, what it refuses, and damaged caches."""

import errno
import shutil
import webbrowser

import pytest
from frame_cache_tools.report import cli as report_cli
from frame_cache_tools.report import writing

from frame_store.manifest import read_tree
from tests.tools.report.reported import report, seen


@pytest.fixture
def cache(damaged_build, tmp_path):
    return shutil.copytree(damaged_build / "dir.cache", tmp_path / "my.cache")


def quick(*arguments):
    return report(*arguments, "--frames-read", "0")


def test_the_page_lies_beside_the_cache_and_is_replaced(cache, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    page = cache.with_name("my.cache.report.html")
    for _ in range(2):
        result = quick(cache, "--open")
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith(f"{page}: ")
    assert opened == [page.as_uri()] * 2
    assert seen(page.read_text()).text.startswith("my.cache: frame cache")


def test_a_file_that_is_no_page_stays(cache, tmp_path):
    target = tmp_path / "notes.html"
    target.write_text("<p>mine</p>")
    result = quick(cache, "--html", target)
    assert result.exit_code == 2 and "is no page of cache-report" in result.stderr
    assert "--overwrite" in result.stderr and target.read_text() == "<p>mine</p>"
    assert quick(cache, "--html", target, "--overwrite").exit_code == 0
    assert quick(cache, "--html", tmp_path).exit_code == 2
    assert quick(cache, "--html", tmp_path / "none" / "a.html").exit_code == 2
    assert quick(tmp_path / "none").exit_code == 2


def test_a_full_disk_leaves_the_old_page(cache, tmp_path, monkeypatch):
    target = tmp_path / "page.html"
    assert quick(cache, "--html", target).exit_code == 0
    before = target.read_bytes()

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing, "write_file", full)
    result = quick(cache, "--html", target)
    assert result.exit_code == 3 and "No space left" in result.stderr
    assert target.read_bytes() == before


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("shard", "shards/000000.tar: missing"),
        ("short", "shards/000000.tar: missing, or not the"),
        ("bits", "frame"),
        ("videos", "The table of videos is damaged"),
        ("index", "index.npy"),
        ("order", "first_row.npy"),
    ],
)
def test_a_damaged_cache_gives_a_page_that_says_so(cache, harm, said):
    (generation,) = read_tree(cache).generations
    shard = generation.path / "shards" / "000000.tar"
    if harm == "shard":
        shard.unlink()
    elif harm == "short":
        shard.write_bytes(shard.read_bytes()[:2000])
    elif harm == "bits":
        shard.write_bytes(bytes(byte ^ 1 for byte in shard.read_bytes()))
    else:
        name = {"videos": "videos.jsonl", "index": "index.npy", "order": "first_row.npy"}[harm]
        (generation.path / name).write_bytes(b"{}\n")
    result = quick(cache)
    assert result.exit_code == report_cli.EXIT_DAMAGED, result.stderr
    text = seen(cache.with_name("my.cache.report.html").read_text()).text
    assert said in text and "The cache itself is damaged" in text


def test_a_cache_without_a_manifest_gives_no_page(cache):
    (cache / "manifest-0000.json").write_bytes(b"{}")
    result = quick(cache)
    assert result.exit_code == 1 and result.stderr.count("error:") == 1
    assert not cache.with_name("my.cache.report.html").exists()
