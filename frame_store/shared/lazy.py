"""Names of a package that are imported when they are first asked for (PEP 562)."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(package: str, names_of: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A `__getattr__` for the module `package`, which imports a module of `names_of` at the first use of its names.

    A name that was asked for once is an attribute of the package from then on.
    """
    module_of = {name: module for module, names in names_of.items() for name in names}

    def find(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(module_of[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return find
