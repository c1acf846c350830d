"""Videos that a live store keeps open between look-ups."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cache_builder.live.video import LiveVideo
from frame_store.shared import num_files_to_keep


class OpenVideos:
    """Videos open in this process. One thread at a time borrows a video; the least recently used is closed first."""

    def __init__(self, make_video: Callable[[int], LiveVideo], max_open: int, *, max_idle_bytes: int) -> None:
        self.pid = os.getpid()
        self._make_video = make_video
        self._max_open = max_open
        self._max_idle_bytes = max_idle_bytes
        self._lock = threading.Lock()
        self._idle: OrderedDict[int, LiveVideo] = OrderedDict()

    @contextmanager
    def borrow(self, video_id: int) -> Iterator[LiveVideo]:
        """An open video that no other thread uses. Opens the video if none is idle."""
        with self._lock:
            video = self._idle.pop(video_id, None)
        is_new = video is None
        if video is None:
            video = self._make_video(video_id)
        try:
            yield video
        except BaseException:
            video.reader.close()
            raise
        with self._lock:
            evicted = [self._idle.pop(video_id)] if video_id in self._idle else []
            self._idle[video_id] = video
            newest_number = video.reader.descriptor if is_new else None
            num_kept = num_files_to_keep(len(self._idle), newest_number=newest_number, at_most=self._max_open)
            num_bytes = sum(other.num_bytes_idle for other in self._idle.values())
            while len(self._idle) > num_kept or (len(self._idle) > 1 and num_bytes > self._max_idle_bytes):
                evicted.append(self._idle.popitem(last=False)[1])
                num_bytes -= evicted[-1].num_bytes_idle
        for other in evicted:
            other.reader.close()

    def close_oldest(self) -> bool:
        """Close the least recently used video; False if none is open."""
        with self._lock:
            video = self._idle.popitem(last=False)[1] if self._idle else None
        if video is not None:
            video.reader.close()
        return video is not None

    def close(self) -> None:
        """Close the videos that no thread has borrowed."""
        with self._lock:
            idle, self._idle = self._idle, OrderedDict()
        for video in idle.values():
            video.reader.close()
