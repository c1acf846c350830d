"""Real object stores on loopback for tests, and what spoils their answers."""

from tests.support.object_stores.copies import flip_a_bit, upload
from tests.support.object_stores.faulty_proxy import Faults, FaultyProxy, faulty_proxy
from tests.support.object_stores.folder_client import FolderClient, folder_client
from tests.support.object_stores.scripted_server import Answer, Request, Script, answer, scripted_server
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
    "Answer",
    "Faults",
    "FaultyProxy",
    "FolderClient",
    "Request",
    "RunningStore",
    "Script",
    "answer",
    "faulty_proxy",
    "flip_a_bit",
    "folder_client",
    "free_ports",
    "no_seaweed_reason",
    "running_seaweed",
    "scripted_server",
    "upload",
]
