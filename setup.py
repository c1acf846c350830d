"""The packages of the wheel, and its description: the README, with links that work there."""

import re
import tomllib
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
FOLDERS = {
    "frame_store": "frame_store",
    "cache_builder": "cache_builder",
    "loader": "loader",
    "frame_cache_tools": "tools",
    "frame_cache_presets": "configs",
}
"""Package: its folder here."""
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)]+)\)")


def description() -> str:
    """The README with absolute links, where pyproject.toml has a `Repository` under `project.urls`; else with names.

    A link that leads nowhere is worse than the name of the file, which the wheel has, or the source.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    repository = project.get("urls", {}).get("Repository", "").removesuffix("/")

    def spelled(link: re.Match[str]) -> str:
        text, path = link.groups()
        if repository:
            return f"[{text}]({repository}/blob/HEAD/{path})"
        return f"`{path}`" if text == path else f"{text} (`{path}`)"

    return LINK.sub(spelled, (ROOT / "README.md").read_text(encoding="utf-8"))


def packages() -> list[str]:
    """Every package, with its rooms."""
    return [
        f"{package}{room}"
        for package, folder in FOLDERS.items()
        for room in ["", *(f".{name}" for name in find_packages(str(ROOT / folder)))]
    ]


setup(
    packages=packages(),
    package_dir=FOLDERS,
    long_description=description(),
    long_description_content_type="text/markdown",
)
