"""The tree of a cache in tests: where its generation lies, and its JSON files written again with right hashes."""

import hashlib

import msgspec

from frame_store.manifest import (
    FileEntry,
    GenerationEntry,
    encode_generation,
    encode_manifest,
    encode_videos,
    fresh_manifest,
    read_tree,
)
from frame_store.names import (
    GENERATION_NAME,
    VIDEOS_NAME,
    is_generation_folder,
    manifest_name,
)
from frame_store.names import (
    generation_folder as folder_name,
)
from frame_store.verify import verify_store

FIRST_MANIFEST = manifest_name(0)


def generation_folder(cache):
    """The folder of the one generation of a cache, also of a damaged one."""
    (folder,) = [path for path in cache.iterdir() if is_generation_folder(path.name)]
    return folder


def generation_of(cache):
    return read_tree(cache).common


def videos_of(cache):
    return read_tree(cache).read_videos()


def write_tree(cache, generation):
    """Write `generation.json` and the manifest of a fresh cache; the folder of the generation is there already."""
    entry = write_generation_json(cache, generation)
    (cache / FIRST_MANIFEST).write_bytes(encode_manifest(fresh_manifest(entry)))
    return generation


def write_generation_json(cache, generation):
    """Write `generation.json`, whose folder is there already; returns its entry for a manifest."""
    content = encode_generation(generation)
    folder = folder_name(generation.fingerprint)
    (cache / folder / GENERATION_NAME).write_bytes(content)
    return GenerationEntry(
        folder=folder,
        digest=hashlib.sha256(content).hexdigest(),
        first_frame=0,
        num_frames=generation.num_frames,
        first_video=0,
        num_videos=generation.num_videos,
    )


def write_videos(folder, videos):
    """Write the table of videos; returns its entry."""
    content = b"".join(encode_videos(videos))
    (folder / VIDEOS_NAME).write_bytes(content)
    return FileEntry(name=VIDEOS_NAME, num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def change_generation(cache, *, videos=None, **changes):
    """Replace fields of the generation, or its table of videos; all hashes are right afterwards."""
    generation = msgspec.structs.replace(generation_of(cache), **changes)
    if videos is not None:
        entry = write_videos(generation_folder(cache), videos)
        files = [entry if file.name == VIDEOS_NAME else file for file in generation.files]
        generation = msgspec.structs.replace(generation, files=files, num_videos=len(videos))
    return write_tree(cache, generation)


def problems_inside(cache):
    """What `verify_store` finds, with paths inside the folder of the generation, in which all problems lie."""
    start = f"{generation_folder(cache).name}/"
    problems = verify_store(cache).problems
    assert all(problem.startswith(start) for problem in problems), problems
    return [problem.removeprefix(start) for problem in problems]


def decoded_frames_of(cache):
    """Path and `frame_in_video` of every decoded frame, in source order."""
    return [(video.path, frame) for video in videos_of(cache) for frame in range(video.num_frames_decoded)]
