"""The videos of a folder of an object store: the objects whose keys begin with its path."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from cache_builder.errors import InputFolderError
from cache_builder.sources.contents import PassedOver, SourceContents, SourceVideo, largest_first
from cache_builder.sources.names import printable
from cache_builder.staging import Stage, StagedObject
from frame_store.names import manifest_version
from frame_store.remote import ObjectClient, RemoteObject
from frame_store.shared import EXTENSIONS_TEXT, is_video_name

LEROBOT_INFO = "meta/info.json"


def videos_below(client: ObjectClient, objects: Sequence[RemoteObject], stage: Stage) -> SourceContents:
    """The videos among `objects`, by extension, sorted by key, as those of a local folder; and what was passed over.

    Keys of which a part begins with a dot are hidden.

    Raises:
        InputFolderError: there is no video, or they are a LeRobot data set.
    """
    name = client.url.text
    if any(found.key == LEROBOT_INFO for found in objects):
        raise InputFolderError(
            name,
            f"is a LeRobot data set ({LEROBOT_INFO} is there), and such a source must be a folder of this machine: "
            "download it, and give that folder",
        )
    folders = {str(parent) for found in objects for parent in PurePosixPath(found.key).parents}
    hidden: set[str] = set()
    extensions: Counter[str] = Counter()
    videos = []
    for found in objects:
        if found.num_bytes == 0 and (found.key in folders or found.key == client.url.path):
            continue  # consoles mark a folder by an empty object
        parts = found.key.split("/")
        if (place := _hidden_place(parts)) is not None:
            hidden.add(place)
        elif is_video_name(parts[-1]):
            videos.append(video_of(found, client, stage, name=found.key))
        else:
            extensions[printable(PurePosixPath(parts[-1]).suffix.lower())] += 1
    passed_over = PassedOver(by_extension=largest_first(extensions), num_hidden=len(hidden))
    if not videos:
        if any(manifest_version(found.key) is not None for found in objects):
            raise InputFolderError(name, "is a cache, and holds no videos")
        others = passed_over.text
        raise InputFolderError(
            name,
            f"holds no video{f' ({others})' if others else ''}; videos have these extensions: {EXTENSIONS_TEXT}",
        )
    return SourceContents(
        videos=sorted(videos, key=lambda video: (video.relative_path, video.file)), passed_over=passed_over
    )


def video_of(found: RemoteObject, client: ObjectClient, stage: Stage, *, name: str) -> SourceVideo:
    """The video in an object that `client` has found."""
    staged = StagedObject.of(found, client, stage)
    return SourceVideo(relative_path=printable(name), path=staged.path, staged=staged)


def _hidden_place(parts: Sequence[str]) -> str | None:
    for number, part in enumerate(parts, start=1):
        if part.startswith("."):
            return "/".join(parts[:number])
    return None
