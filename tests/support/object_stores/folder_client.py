"""Objects that lie in a folder of this machine, in the place of an object store: requests are counted, and can fail."""

import threading
from collections import Counter
from pathlib import Path

from frame_store.errors import ObjectAccessError, ObjectMissingError
from frame_store.remote import ObjectClient, RemoteObject


class FolderClient(ObjectClient):
    """The object `s3://bucket/key` is the file `top/bucket/key`. Sub-classes or instances replace what fails."""

    top: Path
    requests: "Counter[str]"
    may_list: bool
    absent: type[Exception]
    """What is raised for an object that is not there: 403 is how S3 answers those who may not list."""

    def get(self, key, *, max_bytes, e_tag=None):
        content = self._file(key).read_bytes()
        assert len(content) <= max_bytes
        return content

    def get_range(self, key, start, num_bytes, *, e_tag=None):
        content = self._file(key).read_bytes()[start : start + num_bytes]
        if len(content) != num_bytes:
            raise ObjectMissingError(f"{self.url.object_text(key)}: ends before this range (416)")
        return memoryview(content)

    def get_chunks(self, key, start, num_bytes, write):
        write(self.get_range(key, start, num_bytes), start)

    def head(self, key):
        path = self._file(key)
        return RemoteObject(key=key, num_bytes=path.stat().st_size, e_tag=None, modified=None)  # type: ignore[arg-type]

    def entries(self, folder=""):
        self._count("LIST")
        if not self.may_list:
            raise ObjectAccessError(f"{self.url.text}: the store refuses (403)")
        path = self.top / self.url.root / self.url.path / folder
        found = sorted(path.iterdir()) if path.is_dir() else []
        return [each.name for each in found if each.is_dir()], [each.name for each in found if each.is_file()]

    def _file(self, key):
        self._count(key)
        path = self.top / self.url.root / self.url.path / key
        if not path.is_file():
            raise self.absent(f"{self.url.object_text(key)}: is not there")
        return path

    def _count(self, what):
        with _lock:
            self.requests[what] += 1


_lock = threading.Lock()


def folder_client(top: Path, *, may_list: bool = True, absent: type[Exception] = ObjectMissingError):
    """A class of clients over the folder, with counters of its own."""
    members = {"top": top, "requests": Counter(), "may_list": may_list, "absent": absent}
    return type("FolderClient", (FolderClient,), members)
