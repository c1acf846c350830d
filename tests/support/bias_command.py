"""Runs `cache-bias` in this process."""

import json

from frame_cache_tools.bias.cli import main

from tests.support.commands import run


def bias(*arguments):
    return run(*map(str, arguments), command=main)


def samplers(*arguments):
    """Rows of `--json` by sampler, one dict for each case."""
    result = bias(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return [
        {row["law"]["name"]: row for row in case["samplers"]} for case in json.loads(result.stdout)["cases"]
    ]
