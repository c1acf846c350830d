"""Real object stores on loopback for tests."""

from tests.support.object_stores.copies import flip_a_bit, upload
from tests.support.object_stores.seaweed import (
    ACCESS_KEY,
    SECRET_KEY,
    RunningStore,
    free_ports,
    no_seaweed_reason,
    running_seaweed,
)

__all__ = [
    "ACCESS_KEY",
    "SECRET_KEY",
    "RunningStore",
    "flip_a_bit",
    "free_ports",
    "no_seaweed_reason",
    "running_seaweed",
    "upload",
]
