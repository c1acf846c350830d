"""The NVDEC store on the stub driver: its device memory is the host's, so torch takes the planes as CPU tensors."""

from pathlib import Path

import torch

from cache_builder.discover import discover_videos
from cache_builder.video.cuda_live_store import CudaLiveStore
from cache_builder.video.geometry import FrameGeometry
from cache_builder.video.nvdec import NvdecDevice
from cache_builder.video.scan_cache import scan_frames
from tests.support.stub_planes import plane_tensor


class HostCudaLiveStore(CudaLiveStore):
    """Everything of `CudaLiveStore` but for what torch itself does on a GPU."""

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")


def open_on_stub(folder: Path | str, *, size: int = 64, falls_back: bool = False) -> HostCudaLiveStore:
    """As `open_videos(folder, device="cuda")`, or with `falls_back` "auto", in a process on the stub driver."""
    videos = discover_videos(Path(folder))
    return HostCudaLiveStore(
        videos,
        scan_frames(videos, cache_path=None, workers=1, progress=None),
        geometry=FrameGeometry(height=size, width=size),
        max_open=4,
        nvdec=NvdecDevice(),
        falls_back=falls_back,
        import_plane=plane_tensor,
    )
