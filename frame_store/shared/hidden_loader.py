"""A project's own `loader.py` hides the package `loader` of this project: found out, and said in one line.

Python looks for a script's imports in the script's own folder first, for those of `python -m` in the current folder.
"""

import importlib.util
import os


def foreign_loader() -> str | None:
    """The file or folder that `import loader` leads to, where it is not the package beside this one; else None."""
    ours = _beside_this_package("loader")
    if not os.path.isfile(os.path.join(ours, "__init__.py")):  # noqa: PTH113, PTH118 - pathlib takes a moment to import
        return None
    try:
        spec = importlib.util.find_spec("loader")
    except (ImportError, ValueError):  # one that somebody made up without saying where it is
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    if os.path.realpath(ours) in map(os.path.realpath, folders):
        return None
    return folders[0] if folders else spec.origin


def hidden_text(foreign: str) -> str:
    """What to say of it."""
    return (
        f"`import loader` leads to {foreign} here, which hides frame-cache's package `loader` "
        f"({_beside_this_package('loader')}) with FrameLoader: give that file or folder another name"
    )


def _beside_this_package(name: str) -> str:
    return os.path.abspath(os.path.join(__file__, "..", "..", "..", name))  # noqa: PTH100, PTH118
