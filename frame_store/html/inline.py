"""Styles and scripts of a page, which are constants of this project, and the policy that lets no other run."""

import base64
import hashlib
from dataclasses import dataclass

from frame_store.html.elements import MAKER, Html


@dataclass(frozen=True, kw_only=True)
class InlineStyle:
    """A style sheet."""

    text: str

    def __post_init__(self) -> None:
        """Refuse a text that would end its element, or loads something."""
        if any(part in self.text.lower() for part in ("</", "<!--", "@import", "url(")):
            raise ValueError("a style sheet holds no end of an element, and loads nothing")

    @property
    def html(self) -> Html:
        """The element."""
        return Html(f"<style>{self.text}</style>", made_by=MAKER)

    @property
    def source(self) -> str:
        """What a Content-Security-Policy names it by: `'sha256-...'`."""
        return _source(self.text)


@dataclass(frozen=True, kw_only=True)
class InlineScript:
    """A script without values of any page: its hash is that of a constant."""

    text: str

    def __post_init__(self) -> None:
        """Refuse a text that would end its element."""
        if any(part in self.text.lower() for part in ("</", "<!--", "<script")):
            raise ValueError("a script holds no end of an element")

    @property
    def html(self) -> Html:
        """The element."""
        return Html(f"<script>{self.text}</script>", made_by=MAKER)

    @property
    def source(self) -> str:
        """What a Content-Security-Policy names it by: `'sha256-...'`."""
        return _source(self.text)


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
