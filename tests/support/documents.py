"""Markdown as far as tests of documents need it: fenced blocks, tables, links, anchors, names of files."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
_CODE_SPAN = re.compile(r"`([^`\n]+)`")
_FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)+/?")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block."""

    info: str
    """The word after the first fence: `python`, `sh`, `text` ..."""
    body: str
    line: int
    """Of the first fence, from 1."""


def text_of(name: str) -> str:
    """A document, by its path from the root."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks in their order."""
    return [
        Block(
            info=found["info"].strip(),
            body=textwrap.dedent(found["body"]),
            line=text.count("\n", 0, found.start()) + 1,
        )
        for found in _FENCE.finditer(text)
    ]


def without_blocks(text: str) -> str:
    """The prose."""
    return _FENCE.sub("", text)


def links_of(text: str) -> list[str]:
    """Targets of links outside fenced blocks, but for other hosts."""
    targets = _LINK.findall(without_blocks(text))
    return [target for target in targets if not target.startswith(("http://", "https://"))]


def anchors_of(text: str) -> set[str]:
    """What a link may name after `#`: the headings, spelled as GitHub spells them."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def tables_of(text: str) -> list[tuple[str, str]]:
    """Each table, with the text between it and the table or heading before it."""
    tables = []
    for found in _TABLE.finditer(text):
        before = text[: found.start()]
        start = max(before.rfind("\n#"), before.rfind("|\n"), 0)
        tables.append((before[start:], found.group()))
    return tables


def modules_of(text: str) -> set[str]:
    """What `python -m` runs."""
    return set(re.findall(r"python -m ((?:tests|frame_cache_tools)[\w.]*\w)", text))


def files_of(text: str) -> set[str]:
    """Files and folders of the repository that code spans name."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    spans = _CODE_SPAN.findall(without_blocks(text))
    named = {name for span in spans for name in _FILE.findall(span) if span.startswith(name)}
    return {name for name in named if name.split("/")[0] in folders}
