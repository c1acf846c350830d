"""What a browser would see of a page: elements, attributes, texts, links."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

from frame_cache_tools.report.cli import main

from tests.support.commands import run


@dataclass
class Seen:
    tags: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """Each element with the names of its attributes, in the order of the page."""
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen()
        self._inside: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.tags.append((tag, tuple(name for name, _ in attrs)))
        self.seen.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside.append(tag)

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"style", "script"} & set(self._inside[-1:]):
            self.seen.texts.append(data)


def seen(page: str) -> Seen:
    parser = _Parser()
    parser.feed(page)
    parser.close()
    return parser.seen


def report(*arguments):
    return run(*arguments, command=main)
