"""Errors of the contract, grouped by what a handler would do.

```
FrameCacheError
├── StoreError              the store is at fault; the caller asked properly
│   ├── StoreNotFoundError      nothing there, or not a frame store
│   ├── StoreFormatError        a version or a manifest this reader must refuse
│   └── StoreDamagedError       bytes that are not what was written: run `cache-verify`
├── FrameIdError            the caller asked for a frame that does not exist (also an IndexError)
└── CudaError               the GPU cannot be used
    ├── CudaForkError           not in this process: it was forked from one that uses CUDA
    └── CudaUnavailableError    not on this machine: no driver, no device, or not what was asked of it
```

`cache_builder.errors` adds `VideoError` and `BuildError` under the same root, so one
`except FrameCacheError` catches everything this project raises on purpose.
"""


class FrameCacheError(Exception):
    """Root of every error raised on purpose by frame_store, cache_builder and loader."""


class StoreError(FrameCacheError):
    """A frame store cannot be used as it is."""


class StoreNotFoundError(StoreError):
    """The path holds no frame store."""


class StoreFormatError(StoreError):
    """The store is of an unknown version, or its manifest breaks FORMAT.md."""


class StoreDamagedError(StoreError):
    """A file of the store is missing, truncated or altered."""


class FrameIdError(FrameCacheError, IndexError):
    """A frame id outside [0, len(store))."""


class CudaError(FrameCacheError):
    """A GPU was asked for and cannot be used."""


class CudaForkError(CudaError):
    """Forked from a process that had started CUDA, this one cannot use it: the program's mistake, not the machine's."""


class CudaUnavailableError(CudaError):
    """There is no NVIDIA driver, no device, or it cannot do what was asked; the message says why and what helps."""
