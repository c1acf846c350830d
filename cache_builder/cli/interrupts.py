"""SIGTERM as an exception, so that what a Ctrl-C lets be cleaned up is cleaned up then, too."""

import signal
import threading
from types import FrameType, TracebackType


class Terminated(KeyboardInterrupt):
    """SIGTERM came: whatever lets a Ctrl-C through lets this through."""


class SigtermAsInterrupt:
    """Within it SIGTERM, which batch systems send first, raises `Terminated` in the main thread."""

    def __init__(self) -> None:
        self._handles = False

    def __enter__(self) -> None:
        # Else the caller's handler stays, or the signal is ignored on purpose.
        is_main_thread = threading.current_thread() is threading.main_thread()
        if is_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _terminate)
            self._handles = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handles:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
