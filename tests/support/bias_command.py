"""Runs `cache-bias` in this process."""

import json

from frame_cache_tools.bias.cli import main

from tests.support.commands import run


def bias(*arguments):
    return run(*map(str, arguments), command=main)


def words(*arguments):
    """What it prints, on one line."""
    return " ".join(bias(*arguments).stdout.split())


def samplers(*arguments):
    """Rows of `--json` by sampler, one dict for each case."""
    result = bias(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return [
        {row["law"]["name"]: row for row in case["samplers"]} for case in json.loads(result.stdout)["cases"]
    ]
