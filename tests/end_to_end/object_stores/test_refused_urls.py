"""What does not take a URL says so in one line, with the exit code of a wrong command, before it asks a store."""

import pytest
from frame_cache_tools.report.cli import main as cache_report

from cache_builder import (
    add_columns,
    build_cache,
    estimate_build,
    forget_videos,
    open_videos,
    write_content_order,
)
from cache_builder.cli import cache_build, cache_compact, cache_fetch, cache_info, cache_verify
from frame_store.errors import FrameCacheError
from tests.support.commands import run

URL = "s3://bucket/cache"


@pytest.mark.parametrize(
    ("command", "arguments", "what"),
    [
        (cache_compact, [URL], "cache-fetch URL DIR"),
        (cache_report, [URL], "cache-fetch"),
        (cache_verify, [URL, "--repair"], "cache-fetch"),
        (cache_build, ["videos", "--out", URL, "--columns", "t.csv"], "--columns does not take a URL"),
        (cache_build, ["--out", URL, "--columns", "t.csv"], "--columns does not take a URL"),
        (cache_build, ["--out", URL, "--forget", "a.mp4"], "--forget does not take a URL"),
        (cache_build, ["videos", "--out", URL, "--content-order"], "--content-order does not take a URL"),
        (cache_build, ["videos", "--out", "https://host.example/cache"], "web servers are read-only"),
        (cache_build, ["videos", "--out", "c", "--scratch", "https://host.example/c"], "read-only"),
        (cache_build, [URL], "--out"),
        (cache_info, [URL, "--against", URL], "a path on this machine is taken here"),
        (cache_fetch, [URL, URL], "a path on this machine is taken here"),
    ],
)
def test_a_command_refuses_a_url_in_one_line(command, arguments, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    (tmp_path / "t.csv").write_text("video,x\na.mp4,1\n")
    result = run(*arguments, command=command)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1 and what in result.stderr
    assert "host.example" not in result.stderr and "videos.compact" not in result.stderr


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: add_columns(URL, {"video": ["a.mp4"], "x": [1]}), "cache-fetch"),
        (lambda: forget_videos(URL, "a.mp4"), "cache-fetch"),
        (lambda: write_content_order(URL), "cache-fetch"),
        (lambda: open_videos(URL), "download the videos"),
        (lambda: build_cache("videos", URL, content_order=True), "order a local cache"),
        (lambda: build_cache("videos", URL, columns={"video": ["a.mp4"], "x": [1]}), "into a local cache"),
        (lambda: estimate_build(URL), "give out"),
    ],
)
def test_a_call_refuses_a_url_and_says_what_to_do(call, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FrameCacheError, match=what):
        call()
    assert not [*tmp_path.iterdir()]
