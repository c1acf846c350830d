"""Windows: which frames and which rows of columns a batch shows around each of its anchors. No torch."""

from loader.windows.epochs import WindowedEpochs, plan_windows
from loader.windows.request import BatchRequest
from loader.windows.spec import WindowSpec, window_spec
from loader.windows.whole import WholeWindows, anchors_with_whole_windows, span_of
from loader.windows.windows import Shown, Windows

__all__ = [
    "BatchRequest",
    "Shown",
    "WholeWindows",
    "WindowSpec",
    "WindowedEpochs",
    "Windows",
    "anchors_with_whole_windows",
    "plan_windows",
    "span_of",
    "window_spec",
]
