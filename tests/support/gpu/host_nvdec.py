"""Our NVDEC path on the stub driver. The stub's device memory is the host's, so torch takes the planes as CPU tensors.

Everything runs except torch's own work on a GPU: the choice of streams, and the colour conversion on CUDA.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from av.video.plane import VideoPlane

from cache_builder.gpu.nvdec import NvdecDevice
from cache_builder.live.footage import place_videos, scan_files
from cache_builder.sources import SourceVideo, discover_videos
from cache_builder.video.picture.geometry import FrameGeometry
from tests.support.executors.in_process_pool import InProcessPool
from tests.support.gpu.stub_planes import plane_tensor

if TYPE_CHECKING:
    import torch

    from cache_builder.live.gpu_store import CudaLiveStore


@dataclass(frozen=True, kw_only=True)
class HostNvdecDevice(NvdecDevice):
    """The stub's GPU. It pickles, so it goes to worker processes like a real one."""

    @property
    def torch_device(self) -> "torch.device":
        import torch

        return torch.device("cpu")

    def import_plane(self, plane: VideoPlane) -> "torch.Tensor":
        return plane_tensor(plane)


def open_on_stub(
    folder: Path | str,
    *,
    size: int = 64,
    falls_back: bool = False,
    decoder: str | None = None,
    videos: Sequence[SourceVideo] | None = None,
) -> "CudaLiveStore":
    """As `open_videos(folder, device="cuda")`, or with `falls_back` "auto", in a process on the stub driver.

    `videos` are stretches of the folder's files in place of these files.
    """
    from cache_builder.live.gpu_store import CudaLiveStore  # needs torch

    videos = discover_videos(Path(folder)) if videos is None else videos
    return CudaLiveStore(
        place_videos(videos, scan_files(videos, cache_path=None, pool=InProcessPool())),
        geometry=FrameGeometry(height=size, width=size),
        max_open=4,
        nvdec=HostNvdecDevice(decoder=decoder),
        falls_back=falls_back,
    )
