"""The work of one worker process: decode a unit of a video, write a shard."""
