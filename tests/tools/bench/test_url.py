"""`cache-bench --url`: a cache in a real object store, beside its copy here and bare requests. No speed is asserted."""

import json

import pytest
from frame_cache_tools.bench import cli
from frame_cache_tools.bench import run as bench_run
from frame_cache_tools.bench.cli import EXIT_WRONG_COMMAND, main
from frame_cache_tools.bench.measure import SliceRule
from frame_cache_tools.bench.remote import cases
from frame_cache_tools.bench.remote.sources import BareRanges, FrameRequest

from frame_store.errors import ObjectStoreError
from frame_store.remote import RemoteUrl
from tests.support.caches.made_generations import write_variant
from tests.support.commands import run
from tests.support.object_stores import ACCESS_KEY, SECRET_KEY, upload


def test_rows_of_a_url_are_shares_of_bare_requests_and_stand_beside_the_local_cache(
    tmp_path, bucket_folder, monkeypatch
):
    cache = write_variant(tmp_path / "cache", "wds-jpeg-strided", (16, 10, 16, 14, 12))
    upload(cache, bucket_folder)
    # In this process: another one would import torch for every row.
    monkeypatch.setattr(cli, "start_server", lambda: None)
    monkeypatch.setattr(bench_run, "call_in_process", lambda function, *, seconds, temp_folder: function())
    monkeypatch.setattr(
        bench_run,
        "measure_in_process",
        lambda source, rule, *, seconds, temp_folder: source.measure(rule, lambda _: None),
    )
    monkeypatch.setattr(cases, "_WARM_SECONDS", 0.02)
    flags = ("--rounds", "1", "--seconds", "0.05", "--batch-size", "4", "--json")
    result = run("--url", bucket_folder, "--cache", cache, *flags, command=main)
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    rows = {row["name"]: row for row in report["rows"]}
    assert {row["failure"] for row in rows.values()} == {None}, rows
    assert {row["group"] for row in rows.values()} == {"object store", "cached", "limits"}
    limits = {
        "URL, permutation by ranges": "bare ranged GETs of a frame, 64 at once",
        "URL, block k=4 from a folder": "bare whole shards in parts, 16 at once",
    }
    for name, limit in limits.items():
        assert (rows[name]["limit"], rows[name]["ratio_to_limit"] > 0) == (limit, True)
        assert rows[limit]["images_per_second"] > 0
    assert [each["path"] for each in report["caches"]] == [bucket_folder.replace("//", "/"), str(cache)]
    assert not any(secret in result.output for secret in (ACCESS_KEY, SECRET_KEY, "127.0.0.1"))


def test_a_bare_request_that_fails_says_no_host(bucket_folder):
    source = BareRanges(
        url=RemoteUrl.of(bucket_folder),
        requests=(FrameRequest(key="nothing", start=0, num_bytes=1),),
        at_once=1,
    )
    with pytest.raises(ObjectStoreError, match=f"{bucket_folder}/nothing: a bare request failed") as error:
        source.measure(SliceRule(seconds=0.01), lambda _: None)
    assert "127.0.0.1" not in str(error.value) and error.value.__cause__ is None


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (["--url", "dir.cache"], "is a path; give it as --cache"),
        (["--folder-bytes", "5"], "--folder-bytes is for --url URL"),
        (["--url", "s3://bkt/x", "--videos", "."], "leave out --videos"),
        (["--url", "s3://user:hidden@bkt/x"], "credentials do not belong in a URL"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flags, what):
    result = run(*flags, command=main)
    assert result.exit_code == EXIT_WRONG_COMMAND and what in result.stderr and "hidden" not in result.output
