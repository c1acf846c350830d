"""Sources whose videos are episodes of files and have cameras, made by hand of a written LeRobot data set."""

from dataclasses import replace
from unittest.mock import patch

import av
import numpy as np

from cache_builder.build import pipeline
from cache_builder.sources import EpisodeSpan, SourceContents, SourceDataset, SourceVideo
from cache_builder.sources.contents import NOTHING_PASSED_OVER
from frame_store.tables.table import Table, TableColumn, text_column
from tests.support.lerobot import WrittenLeRobot, draw_picture

STATEMENT = {"kind": "lerobot", "info": {"fps": 10}, "tasks": {"0": "pick"}, "stats": {}}


def source_of(written: WrittenLeRobot, *, episodes=None, with_columns=True) -> SourceContents:
    """What a data set holds; `episodes` are the numbers of those that are taken, None for all."""
    spec = written.spec
    taken = range(len(spec.lengths)) if episodes is None else episodes
    videos = []
    for camera in spec.cameras:
        for episode in taken:
            path, start, end = written.spans[camera.key][episode]
            times = start + np.arange(spec.lengths[episode]) / spec.fps
            videos.append(
                SourceVideo(
                    relative_path=f"episode_{episode:06d}",
                    path=path,
                    file_path=path.relative_to(written.root).as_posix(),
                    camera=camera.key,
                    span=EpisodeSpan(
                        from_seconds=start,
                        to_seconds=end,
                        frame_seconds=times,
                        tolerance_seconds=1e-4,
                    ),
                )
            )
    return SourceContents(
        videos=videos,
        passed_over=NOTHING_PASSED_OVER,
        cameras=tuple(camera.key for camera in spec.cameras),
        depth_cameras=frozenset(camera.key for camera in spec.cameras if camera.depth is not None),
        dataset=SourceDataset(read_tables=lambda: [table_of(written)], statement=STATEMENT)
        if with_columns
        else None,
    )


def table_of(written: WrittenLeRobot) -> Table:
    """The rows of all episodes: the action, and the task as text."""
    columns = written.columns
    names = [f"episode_{episode:06d}" for episode in columns["episode_index"]]
    return Table(
        source="data",
        video=text_column(names),
        frames=columns["frame_index"],
        seconds=None,
        columns={
            "action": TableColumn(values=columns["action"]),
            "index": TableColumn(values=columns["index"]),
            "task": text_column([written.spec.tasks[task] for task in columns["task_index"]]),
        },
    )


def changed_video(contents: SourceContents, name: str, camera: str, **changes) -> SourceContents:
    """The same source with one video changed; `frame_seconds` changes the times of its frames."""

    def change(video: SourceVideo) -> SourceVideo:
        if (video.relative_path, video.camera) != (name, camera):
            return video
        span = video.span
        if "frame_seconds" in changes:
            span = replace(span, frame_seconds=changes["frame_seconds"](span.frame_seconds))
        return replace(video, span=span, **{k: v for k, v in changes.items() if k != "frame_seconds"})

    return replace(contents, videos=[change(video) for video in contents.videos])


def build(contents: SourceContents, output, config, options, **more):
    """`run_build` of a source that was made by hand."""
    with patch.object(pipeline, "look_into", lambda sources, *, not_counted=(): contents):
        return pipeline.run_build(output.parent, output, config, options, **more)


FPS = 10


def write_whole(path, *, camera=0, num_frames=40, gop_size=12, num_b_frames=2, size=(96, 64), fps=FPS):
    """One recording of numbered pictures, in which episodes may begin anywhere: h264 with B-frames, closed GOPs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"g": str(gop_size), "bf": str(num_b_frames), "crf": "18", "preset": "veryfast"}
        for frame in range(num_frames):
            picture = av.VideoFrame.from_ndarray(draw_picture(camera, 0, frame, *size), format="rgb24")
            picture.pts = frame
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def cut_source(paths, stretches, *, fps=FPS, dataset=None) -> SourceContents:
    """A source whose episodes are the frames [first, end) of `stretches` of one file a camera."""
    videos = [
        SourceVideo(
            relative_path=f"episode_{number:06d}",
            path=path,
            file_path=path.name,
            camera=camera,
            span=EpisodeSpan(
                from_seconds=first / fps,
                to_seconds=end / fps,
                frame_seconds=np.arange(first, end) / fps,
                tolerance_seconds=1e-4,
            ),
        )
        for camera, path in paths.items()
        for number, (first, end) in enumerate(stretches)
    ]
    cameras = () if None in paths else tuple(paths)
    return SourceContents(videos=videos, passed_over=NOTHING_PASSED_OVER, cameras=cameras, dataset=dataset)
