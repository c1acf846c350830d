"""Which paths Python opens, and which of them lie outside of a cache."""

import os
import sys


def opened_paths():
    """A set that fills with the paths that Python opens from now on; opens inside of native libraries are not seen."""
    opened = set()
    sys.addaudithook(lambda event, args: opened.add(args[0]) if event == "open" else None)
    return opened


def paths_outside(opened, cache):
    """Paths that lead out of the cache, by a link in it or to the files that mutations put beside it."""
    paths = {os.fsdecode(path) for path in opened if isinstance(path, str | bytes | os.PathLike)}
    below = [path for path in paths if path.startswith(f"{cache}/")]
    links = [path for path in below if not os.path.realpath(path).startswith(f"{os.path.realpath(cache)}/")]
    return links + [
        path for path in paths if path.startswith((f"{cache}.", f"{cache.parent}/x", "/etc/passwd"))
    ]
