"""Errors of caches and of the GPU, grouped by what a handler would do.

```
FrameCacheError
├── StoreError              the store is at fault; the caller asked properly
│   ├── StoreNotFoundError      the path holds no frame store
│   ├── StoreFormatError        a version or a manifest that this reader must refuse
│   ├── StoreDamagedError       bytes differ from what was written: run `cache-verify`
│   └── ObjectStoreError        an object store or a web server cannot be reached, or keeps failing
│       ├── ObjectMissingError      it has no such object, or the object is too short
│       ├── ObjectAccessError       it refuses the credentials
│       │   └── ObjectSettingsError     this machine lacks the package, or its environment has what cannot be
│       └── ObjectChangedError      the object was replaced since it was looked at
├── FrameIdError            the caller asked for a frame that does not exist (also an IndexError)
├── ColumnError             a column, or the table of columns, is not what it must be (also a ValueError)
│   ├── UnmatchedRowsError      rows of a table match no frame or video, or the other way round
│   └── UnfitVideoError         the rows of a table do not fit the videos that they name
├── ViewError               the caller asked for a view, a split or a concatenation that cannot be (also a ValueError)
└── CudaError               the GPU cannot be used
    ├── CudaForkError           this process was forked from one that uses CUDA
    └── CudaUnavailableError    this machine has no driver, no device, or cannot do what was asked
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


class ObjectStoreError(StoreError):
    """A request to an object store failed, also when it was tried again. Object, range and attempts are named."""


class ObjectMissingError(ObjectStoreError):
    """The store has no such object, or the object ends before the range that was asked for."""


class ObjectAccessError(ObjectStoreError):
    """The store refuses the credentials, or they have expired."""


class ObjectSettingsError(ObjectAccessError):
    """No request can be made as this machine is set up: obstore is missing, or a variable is wrong."""


class ObjectChangedError(ObjectStoreError):
    """The object was replaced since it was looked at."""


class FrameIdError(FrameCacheError, IndexError):
    """A frame id outside [0, len(store))."""


class ColumnError(FrameCacheError, ValueError):
    """A column cannot be stored, a table cannot be read, or it does not fit the videos."""


class UnmatchedRowsError(ColumnError):
    """Some rows of a table match no frame or video, or some frames or videos have no row."""


class UnfitVideoError(ColumnError):
    """Rows of a table do not fit the videos that they name: another number of frames, or a video that is not whole."""


class ViewError(FrameCacheError, ValueError):
    """The arguments of `select`, `split` or `concat` contradict each other or the store."""


class CudaError(FrameCacheError):
    """A GPU was asked for and cannot be used."""


class CudaForkError(CudaError):
    """CUDA in a process that was forked from one that had started CUDA: a mistake of the program."""


class CudaUnavailableError(CudaError):
    """No NVIDIA driver, no device, or one that cannot do what was asked; the message has the reason and the remedy."""
