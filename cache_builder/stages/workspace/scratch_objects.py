"""Unfinished work of a build in an object store: for one set of inputs and settings at a time.

```
SCRATCH/identity.json        the inputs and settings that this folder belongs to; created, never replaced
SCRATCH/spill/IDENTITY/      frames and receipts of decoded units
SCRATCH/plan/IDENTITY/       plans of shards, by their digest
SCRATCH/receipts/IDENTITY/   records of finished shards, by the digest of their plan
SCRATCH/nodes/               random bytes that every node of a cluster must be able to read
```
IDENTITY is a digest of `identity.json`. No lock keeps a build on another machine from taking over the folder for other
settings while jobs still write there: what they write then lies where no other build looks.
"""

import hashlib
from typing import Any, Final

import msgspec

from cache_builder.errors import OutputError
from cache_builder.stages.workspace.unfinished import IDENTITY_NAME, identity_content, of_something_else
from frame_store.errors import ObjectMissingError
from frame_store.remote import ObjectClient, RemoteUrl
from frame_store.shared import without_controls

_NODES: Final = "nodes"
_OF_IDENTITY: Final = ("spill", "plan", "receipts")
_FOLDERS: Final = (*_OF_IDENTITY, _NODES)
_MAX_IDENTITY_BYTES: Final = 1 << 31


class ScratchObjects:
    """The objects of unfinished work below one URL. Methods raise what `ObjectClient` raises."""

    def __init__(self, url: RemoteUrl) -> None:
        self.client = ObjectClient(url)
        self.spill, self.plans, self.records = (self.client.child(name) for name in _OF_IDENTITY)
        """Those of the identity, when the folder has been claimed."""
        self.nodes = self.client.child(_NODES)
        self.was_there = False
        """Whether `claim` found unfinished work of the same identity."""

    def claim(self, identity: dict[str, Any], *, overwrite: bool, to_discard: str) -> None:
        """Make the folder belong to `identity`, keeping what an interrupted build of the same left there.

        Raises:
            OutputError: it holds unfinished work of something else and `overwrite` is not given, or other objects.
        """
        content = identity_content(identity)
        digest = hashlib.sha256(content).hexdigest()[:16]
        self.spill, self.plans, self.records = (
            self.client.child(f"{name}/{digest}") for name in _OF_IDENTITY
        )
        found = self.identity()
        if found == identity:
            self.was_there = True
            return
        where = self.client.url.text
        if found is not None and not overwrite:
            raise OutputError(of_something_else(where, identity, found, to_discard))
        self._clear(has_identity=found is not None)
        try:
            self.client.create(IDENTITY_NAME, content)
        except FileExistsError:  # another process, or an answer that was lost
            found = self.identity()
            if found != identity:
                raise OutputError(of_something_else(where, identity, found or {}, to_discard)) from None

    def identity(self) -> dict[str, Any] | None:
        """What the folder belongs to; None where that is not stated."""
        try:
            raw = self.client.get(IDENTITY_NAME, max_bytes=_MAX_IDENTITY_BYTES)
            return msgspec.json.decode(raw, type=dict[str, Any])
        except (ObjectMissingError, msgspec.MsgspecError):
            return None

    def remove(self, *, of: dict[str, Any]) -> None:
        """Remove the work of a finished build of identity `of`; unfinished work of another identity stays."""
        if self.identity() in (of, None):
            for name in _FOLDERS:
                self.client.delete(each.key for each in self.client.objects(name))
            self.client.delete([IDENTITY_NAME])  # last: it states whose folder this is

    def _clear(self, *, has_identity: bool) -> None:
        """Remove unfinished work; its identity first, so that what is left cannot pass for resumable work.

        Where there was no identity and one is there now, another build has begun, and all stays. What nodes of a
        cluster look for stays, too: it was put before.
        """
        keys = [each.key for each in self.client.objects()]
        if not has_identity and IDENTITY_NAME in keys and self.identity() is not None:
            return
        for key in keys:
            if key != IDENTITY_NAME and key.partition("/")[0] not in _FOLDERS:
                raise OutputError(
                    f"{self.client.url.text}: holds {without_controls(key)!r}, which no build put there; give another "
                    "{--scratch}, or another {--out}"
                )
        if IDENTITY_NAME in keys:
            self.client.delete([IDENTITY_NAME])
        self.client.delete(key for key in keys if key.partition("/")[0] != _NODES)
