"""What `--executor` means: `local`, `ray` or `ray:ADDRESS`."""

from typing import Final

import msgspec

from cache_builder.setting_names import SettingError

LOCAL: Final = "local"
RAY: Final = "ray"
OWN_CLUSTER: Final = "local"
"""The address of a cluster that the build starts for itself, on this machine."""


class RayChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Ray, and which cluster."""

    address: str | None
    """`host:port` of the head, `OWN_CLUSTER`, or None: a cluster that is there already, else one of its own."""


def read_executor(text: str) -> RayChoice | None:
    """The cluster that a value of `--executor` names; None for this machine's own processes.

    >>> read_executor("local"), read_executor("ray").address, read_executor("ray:head:6379").address
    (None, None, 'head:6379')

    Raises:
        SettingError: it is none of these.
    """
    name, colon, address = text.partition(":")
    if text == LOCAL:
        return None
    if name != RAY or (colon and not address):
        raise SettingError(f"{{--executor}}: expected 'local', 'ray' or 'ray:ADDRESS', found {text!r}")
    if "//" in address:
        raise SettingError(
            "{--executor}: expected host:port after 'ray:', found an address of Ray Client, which is not supported; "
            "run the command on a machine of the cluster, such as by `ray job submit`"
        )
    if colon and address != OWN_CLUSTER and not address.rpartition(":")[2].isdigit():
        raise SettingError(f"{{--executor}}: expected 'ray:local' or 'ray:HOST:PORT', found {text!r}")
    return RayChoice(address=address or None)
