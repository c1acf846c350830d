"""The order in which units are decoded."""

from pathlib import Path

from cache_builder.gpu import DecoderChoice
from cache_builder.plan import DecodeUnit, plan_units
from cache_builder.sources import SourceVideo
from cache_builder.stages.decode import DecodeStage
from cache_builder.video.scan import scan_video
from tests.support.videos.tiny_videos import tiny_video


def test_the_largest_units_come_first_and_equal_ones_in_the_order_of_the_plan(tmp_path):
    sizes = [(5, 64), (30, 64), (12, 64), (10, 128), (12, 64)]
    paths = [
        tiny_video(tmp_path, path=Path(f"{number}.mp4"), num_frames=frames, width=width, height=48).path
        for number, (frames, width) in enumerate(sizes)
    ]
    scans = [scan_video(path, path.name) for path in paths]
    stage = DecodeStage(
        None,
        files=[SourceVideo(relative_path=path.name, path=path) for path in paths],
        spill=tmp_path,
        scans=scans,
        decoders=DecoderChoice(),
        configs=[],
        on_error="fail",
        progress=print,
    )
    units = plan_units(scans)
    assert [unit.video_id for unit in stage._in_order(units)] == [1, 3, 2, 4, 0]
    cut = [DecodeUnit(video_id=1, first_packet=first, end_packet=end) for first, end in ((0, 4), (4, 30))]
    assert stage._in_order(cut) == cut[::-1]
