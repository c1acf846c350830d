"""What lies in a bounded folder at one moment, seen from outside."""

from pathlib import Path

OWN_NAMES = frozenset({".ledger", "CACHEDIR.TAG"})


def files_of(path: Path) -> dict[str, int]:
    """Bytes by name; a file under way counts in full. Files that come and go during the walk may be among them."""
    found = {}
    for each in path.rglob("*"):
        try:
            if each.name in OWN_NAMES or each.is_dir():
                continue
            size = each.stat().st_size
        except FileNotFoundError:
            continue
        is_part = each.name.endswith(".part")
        found[each.relative_to(path).as_posix()] = int(each.name.split(".")[-2]) if is_part else size
    return found


def bytes_at_one_moment(path: Path) -> int:
    """Bytes of files that were there together: those that were there in a first walk, and after it still."""
    return sum(num_bytes for name, num_bytes in files_of(path).items() if (path / name).exists())
