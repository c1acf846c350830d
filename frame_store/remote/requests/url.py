"""The address of a folder in an object store, or on a web server: `s3://bucket/prefix` and others."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast, get_args
from urllib.parse import SplitResult, unquote, urlsplit

from frame_store.shared import without_controls

Scheme: TypeAlias = Literal["s3", "gs", "az", "http", "https"]
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_WEB: Final = ("http", "https")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def is_url(place: object) -> bool:
    """Whether a place is written as a URL, of whatever scheme, and not as the path of a file."""
    return isinstance(place, str) and _URL.match(place) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteUrl:
    """A folder of objects. `RemoteUrl.of` makes it from text.

    Its text, `repr` and errors have no host, no credential and no signature: a bucket is named, a web server is not.
    """

    scheme: Scheme
    root: str
    """The bucket or container; of http and https the host with its port, which is never shown."""
    path: str
    """Keys begin with it: no slash at either end, empty for the whole bucket."""

    @classmethod
    def of(cls, place: "str | os.PathLike[str] | RemoteUrl") -> "RemoteUrl":
        """The URL that `place` is.

        Raises:
            ValueError: it is none, its scheme is unknown, or it has credentials, a query or a fragment. The message
                does not repeat these.
        """
        if isinstance(place, RemoteUrl):
            return place
        text = os.fspath(place)
        if not is_url(text):
            raise ValueError("this is no URL such as s3://bucket/folder")
        if _CONTROLS.search(text):
            raise ValueError(f"{text.partition(':')[0]}://…: the URL has control characters")
        parts = _split(text)
        if parts.scheme not in get_args(Scheme):
            raise ValueError(
                f"{without_controls(parts.scheme)}: this kind of URL is not known; known are "
                f"{', '.join(get_args(Scheme))}"
            )
        scheme = cast("Scheme", parts.scheme)
        _refuse_secrets(parts, scheme)
        path = unquote(parts.path) if scheme in _WEB else parts.path
        segments = [segment for segment in path.split("/") if segment]
        if not (parts.netloc if scheme in _WEB else _BUCKET.fullmatch(parts.netloc)):
            raise ValueError(f"{scheme}://…: the URL names no {'host' if scheme in _WEB else 'bucket'}")
        if any(segment in {".", ".."} for segment in segments) or _CONTROLS.search(path):
            raise ValueError(f"{scheme}://…: the URL has '.', '..' or control characters between its slashes")
        return cls(scheme=scheme, root=parts.netloc, path="/".join(segments))

    @property
    def text(self) -> str:
        """What it is called in messages and reports; of web servers without the host."""
        return "/".join(
            [f"{self.scheme}://{'…' if self.scheme in _WEB else self.root}", *filter(None, [self.path])]
        )

    @property
    def name(self) -> str:
        """The last part of the path, or the bucket."""
        return self.path.rpartition("/")[2] or ("" if self.scheme in _WEB else self.root)

    @property
    def is_writable(self) -> bool:
        """Whether objects can be written there at all: http and https are read-only."""
        return self.scheme not in _WEB

    def child(self, name: str) -> "RemoteUrl":
        """The folder `name`, relative with forward slashes, below this one."""
        return RemoteUrl(
            scheme=self.scheme, root=self.root, path="/".join(filter(None, [self.path, name.strip("/")]))
        )

    def sibling(self, ending: str) -> "RemoteUrl":
        """The folder beside this one whose name is that of this one with `ending` behind it.

        Raises:
            ValueError: it is a whole bucket, which has nothing beside it.
        """
        if not self.path:
            raise ValueError(
                f"{self.text}: is a whole bucket, and nothing lies beside it; give a folder of the bucket"
            )
        return RemoteUrl(scheme=self.scheme, root=self.root, path=self.path + ending)

    def object_text(self, key: str) -> str:
        """What the object `key`, relative to this folder, is called in messages."""
        return f"{self.text}/{without_controls(key)}"

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"RemoteUrl({self.text!r})"


def _split(text: str) -> SplitResult:
    with suppress(ValueError):  # its text may have the host
        parts = urlsplit(text)
        if parts.port != 0:
            return parts
    raise ValueError(f"{text.partition(':')[0]}://…: this is no URL: its host or its port cannot be read")


def _refuse_secrets(parts: SplitResult, scheme: str) -> None:
    if "@" in parts.netloc:
        raise ValueError(
            f"{scheme}://…: credentials do not belong in a URL; give them as the environment has them, such as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if parts.query or parts.fragment:
        raise ValueError(
            f"{scheme}://…: the URL has a query or a fragment, as a signed URL has; a signature is for one object, and "
            "a folder has many: give the URL of the folder without it, and credentials in the environment"
        )
