"""Runs `cache-bias` in this process."""

import json

from frame_cache_tools.bias.cli import main

from tests.support.commands import run


def bias(*arguments):
    return run(*map(str, arguments), command=main)


def samplers(*arguments):
    """Rows of `--json` by sampler, one dict a subject."""
    result = bias(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return [
        {row["law"]["name"]: row for row in subject["samplers"]}
        for subject in json.loads(result.stdout)["subjects"]
    ]
