"""A list of videos at URLs. The list itself lies on this machine, or at a URL."""

import posixpath
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from cache_builder.errors import store_failed
from cache_builder.sources.contents import NOTHING_PASSED_OVER, SourceContents
from cache_builder.sources.list_lines import problems_error
from cache_builder.sources.remote.folder import video_of
from cache_builder.sources.remote.urls import root_of
from cache_builder.staging import Stage
from frame_store.errors import ObjectStoreError
from frame_store.remote import ObjectClient, RemoteObject, RemoteUrl, is_url
from frame_store.shared import EXTENSIONS_TEXT, is_video_name, without_controls

_MAX_LOOKED_UP_AT_ONCE: Final = 32


def look_into_url_list(
    texts: Sequence[tuple[int, str | ValueError]],
    *,
    name: str,
    base: RemoteUrl | None,
    stage: Callable[[], Stage],
) -> SourceContents:
    """The videos that the lines name, in their order. Each is looked up in its store.

    They are called by bucket and path, or by the path alone on web servers, below the folder of the list where all of
    them lie there, else below the deepest folder that all of them lie in.

    Args:
        texts: number and text of each line, or what is wrong with it.
        name: of the list, for messages.
        base: the folder of the list, from which paths count; None for a list on this machine, which may not mix paths
            and URLs.
        stage: where the videos are downloaded to.

    Raises:
        InputFolderError: a line is no URL of a video, names one that is not there, or the one of another line.
        ConfigError: the store refuses the credentials.
        MachineError: a store cannot be reached.
    """
    urls: dict[RemoteUrl, int] = {}
    problems: list[tuple[int, str]] = []
    for number, text in texts:
        try:
            if isinstance(text, ValueError):
                raise text
            url = _url_in(text, base)
            if url in urls:
                raise ValueError(f"{url.text} is the object of line {urls[url]}")
            urls[url] = number
        except ValueError as error:
            problems.append((number, str(error)))
    clients = {root: ObjectClient(root) for root in {root_of(url) for url in urls}}
    found = _looked_up(list(urls), clients)
    problems += [(number, f"{url.text}: is not there") for url, number in urls.items() if found[url] is None]
    if problems or not urls:
        raise problems_error(name, [f"line {number}: {problem}" for number, problem in sorted(problems)])
    places = [_place(url) for url in urls]
    top = _common_folder(places, None if base is None else _place(base))
    of_list = stage()
    return SourceContents(
        videos=[
            video_of(each, clients[root_of(url)], of_list, name=posixpath.relpath(place, top))
            for url, place in zip(urls, places, strict=True)
            if (each := found[url]) is not None
        ],
        passed_over=NOTHING_PASSED_OVER,
    )


def _looked_up(
    urls: Sequence[RemoteUrl], clients: dict[RemoteUrl, ObjectClient]
) -> dict[RemoteUrl, RemoteObject | None]:
    with ThreadPoolExecutor(_MAX_LOOKED_UP_AT_ONCE) as threads:
        try:
            found = list(threads.map(lambda url: clients[root_of(url)].find(url.path), urls))
        except ObjectStoreError as error:
            threads.shutdown(cancel_futures=True)
            raise store_failed(error) from None
    return dict(zip(urls, found, strict=True))


def _url_in(text: str, base: RemoteUrl | None) -> RemoteUrl:
    if is_url(text):
        url = RemoteUrl.of(text.strip())
    elif base is None:
        raise ValueError(
            f"{without_controls(text)!r} is a path, and other lines are URLs; give two lists as two sources"
        )
    else:
        url = _below(base, text)
    if not is_video_name(url.name):
        raise ValueError(f"{url.text} has not the extension of a video: {EXTENSIONS_TEXT}")
    return url


def _below(base: RemoteUrl, text: str) -> RemoteUrl:
    path = posixpath.normpath(posixpath.join("/", base.path, text))
    is_outside = text.startswith(("/", "~")) or posixpath.normpath(
        posixpath.join(base.path, text)
    ).startswith("..")
    if is_outside:
        raise ValueError(
            f"{without_controls(text)!r} leads out of the {'bucket' if base.is_writable else 'server'}; a path in a "
            "list at a URL counts from the folder of the list"
        )
    return RemoteUrl(scheme=base.scheme, root=base.root, path=path.strip("/"))


def _place(url: RemoteUrl) -> str:
    """A path for the name of a video: the host of a web server is no part of it."""
    return "/" + "/".join(filter(None, [url.root if url.is_writable else "", url.path]))


def _common_folder(places: Sequence[str], folder: str | None) -> str:
    common = posixpath.commonpath({posixpath.dirname(place) for place in places})
    return folder if folder is not None and posixpath.commonpath([common, folder]) == folder else common
