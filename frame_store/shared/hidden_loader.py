"""A project's own `loader.py` hides this project's package `loader`.

Python looks for the imports of a script in the script's own folder first, and for those of `python -m` in the current
folder.
"""

import importlib.util
import os


def hidden_loader_text() -> str | None:
    """What to tell a user for whom `import loader` leads elsewhere than to the package beside this one; else None."""
    ours = os.path.abspath(os.path.join(__file__, "..", "..", "..", "loader"))  # noqa: PTH100, PTH118 - pathlib is slow to import
    if not os.path.isfile(os.path.join(ours, "__init__.py")):  # noqa: PTH113, PTH118
        return None
    try:
        spec = importlib.util.find_spec("loader")
    except (ImportError, ValueError):  # a module made by hand, without a spec
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    if os.path.realpath(ours) in map(os.path.realpath, folders):
        return None
    foreign = folders[0] if folders else spec.origin
    return (
        f"`import loader` leads to {foreign}, which hides frame-cache's package `loader` ({ours}) with FrameLoader: "
        f"give that file or folder another name"
    )
