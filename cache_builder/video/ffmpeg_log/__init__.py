"""Facts that only FFmpeg's log contains: no return value and no flag of a packet or frame has them."""

from cache_builder.video.ffmpeg_log.capture import capture_log, dump_container
from cache_builder.video.ffmpeg_log.decoder import DecoderLog, decoder_log
from cache_builder.video.ffmpeg_log.demuxer import DemuxerLog, demuxer_log

__all__ = [
    "DecoderLog",
    "DemuxerLog",
    "capture_log",
    "decoder_log",
    "demuxer_log",
    "dump_container",
]
