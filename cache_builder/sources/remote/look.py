"""Which kind of source lies at a URL, and its videos."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cache_builder.errors import ConfigError, InputFolderError, store_failed
from cache_builder.sources.camera_folder import cameras_of
from cache_builder.sources.camera_pattern import CameraPattern
from cache_builder.sources.contents import NOTHING_PASSED_OVER, SourceContents
from cache_builder.sources.list_lines import HEAD_BYTES, MAX_LIST_BYTES, is_text, texts_in
from cache_builder.sources.remote.folder import video_of, videos_below
from cache_builder.sources.remote.lists import look_into_url_list
from cache_builder.sources.remote.urls import client_of_root, parent_of
from cache_builder.staging import Stage
from frame_store.errors import ObjectMissingError, ObjectStoreError
from frame_store.remote import ObjectClient, RemoteObject, RemoteUrl
from frame_store.shared import EXTENSIONS_TEXT, is_video_name


def look_into_url(
    url: RemoteUrl, stage: Callable[[], Stage], pattern: CameraPattern | None
) -> SourceContents:
    """The videos at a URL, in the order of their keys or of the lines of a list.

    An object with the name of a video is that video. Where keys begin with the path, it is a folder. Any other object
    is a list. A web server has no lists of its objects, so that only videos and lists lie there.

    Raises:
        InputFolderError: nothing is there, or no video.
        ConfigError: a camera pattern is given for what is no folder.
        ConfigError: the store refuses the credentials.
        MachineError: the store cannot be reached.
    """
    with _errors_of(url):
        found = _object_at(url) if is_video_name(url.name) or not url.is_writable else None
        if found is None and url.is_writable:
            client = ObjectClient(url)
            objects = [each for each in client.objects() if each.key != url.path or not each.num_bytes]
            if objects:
                plain = videos_below(client, objects, stage())
                return plain if pattern is None else cameras_of(plain, url.text, pattern)
            found = _object_at(url)
        if found is None:
            raise InputFolderError(url.text, "no such folder or object" if url.is_writable else _NO_FOLDERS)
        if pattern is not None:
            raise ConfigError(f"{url.text}: is no folder, and {{--camera-pattern}} is for folders")
        if is_video_name(url.name):
            video = video_of(found, client_of_root(url), stage(), name=url.name)
            return SourceContents(videos=[video], passed_over=NOTHING_PASSED_OVER)
        return _list_at(url, found, stage)


_NO_FOLDERS = (
    "no video and no list of videos; a web server has no list of its objects, so that a folder there is no source: give"
    " the URL of a video, or a list of such URLs"
)


def _list_at(url: RemoteUrl, found: RemoteObject, stage: Callable[[], Stage]) -> SourceContents:
    client = client_of_root(url)
    is_short = found.num_bytes <= HEAD_BYTES  # read at once: some web servers know no ranges
    data = (
        client.get(url.path, max_bytes=HEAD_BYTES)
        if is_short
        else bytes(client.get_range(url.path, 0, HEAD_BYTES))
    )
    if not url.is_writable and data.lstrip().startswith(b"<"):  # a page, such as one that lists a folder
        raise InputFolderError(url.text, _NO_FOLDERS)
    if not is_text(data):
        raise InputFolderError(
            url.text,
            "is neither a folder nor an object with the extension of a video, nor text that lists videos; "
            f"videos have these extensions: {EXTENSIONS_TEXT}",
        )
    if found.num_bytes > MAX_LIST_BYTES:
        raise InputFolderError(url.text, f"is over {MAX_LIST_BYTES} bytes, too long for a list of videos")
    if not is_short:
        data = client.get(url.path, max_bytes=MAX_LIST_BYTES)
    return look_into_url_list([*texts_in(data)], name=url.text, base=parent_of(url), stage=stage)


def _object_at(url: RemoteUrl) -> RemoteObject | None:
    return client_of_root(url).find(url.path) if url.path else None


@contextmanager
def _errors_of(url: RemoteUrl) -> Iterator[None]:
    try:
        yield
    except ObjectMissingError as error:
        raise InputFolderError(url.text, f"no such folder or object: {error}") from None
    except ObjectStoreError as error:
        raise store_failed(error) from None
