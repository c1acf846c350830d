"""A flag that takes a path or a URL."""

import os
from pathlib import Path
from typing import Any

import click

from frame_store.remote import RemoteUrl, is_url
from frame_store.shared import user_path


class PlaceName(click.ParamType):  # type: ignore[type-arg]
    """A path, with `~` expanded, or a URL. An empty one is refused: it would mean the current folder."""

    name = "place"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path | RemoteUrl:
        """See `click.ParamType.convert`."""
        if isinstance(value, RemoteUrl):
            return value
        text = os.fspath(value)
        if not text:
            self.fail("an empty path", param, ctx)
        try:
            return RemoteUrl.of(text) if is_url(text) else user_path(text)
        except ValueError as error:
            self.fail(str(error), param, ctx)
