"""Content orders of caches, written by a command whose output is something else."""

from collections.abc import Sequence
from pathlib import Path

import click

from cache_builder.cli.shown_progress import shown_progress
from cache_builder.content_order import content_order_lines, write_content_order


def write_content_orders(caches: Sequence[Path]) -> None:
    """Write the content order of each cache; progress and results go to stderr. Raises as `write_content_order`."""
    with shown_progress() as progress:
        reports = [write_content_order(cache, progress=progress) for cache in caches]
    for report in reports:
        click.echo("\n".join(content_order_lines(report)), err=True)
