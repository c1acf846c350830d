"""Imports of this project's packages: names imported at their first use, and a `loader` that hides ours."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(package: str, names_of: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A `__getattr__` (PEP 562) for the module `package`: it imports a module of `names_of` at the first use of a name.

    After its first use a name is an attribute of the package.
    """
    module_of = {name: module for module, names in names_of.items() for name in names}

    def find(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(module_of[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return find


def hidden_loader_text() -> str | None:
    """A warning for users whose own `loader.py` hides our package `loader`; None where nothing hides it.

    Python looks for the imports of a script in the script's own folder first, and for those of `python -m` in the
    current folder.
    """
    # pathlib takes a moment to import
    ours = os.path.abspath(os.path.join(__file__, "..", "..", "..", "loader"))  # noqa: PTH100, PTH118
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
