"""Windows: which frames and which rows of columns a batch shows around each of its anchors. No torch."""

from loader.windows.request import BatchRequest
from loader.windows.spec import Edges, WindowSpec, window_spec
from loader.windows.windows import Windows

__all__ = ["BatchRequest", "Edges", "WindowSpec", "Windows", "window_spec"]
