"""Errors of the contract, grouped by what a handler would do.

```
FrameCacheError
├── StoreError              the store is at fault; the caller asked properly
│   ├── StoreNotFoundError      nothing there, or not a frame store
│   ├── StoreFormatError        a version or a manifest this reader must refuse
│   └── StoreDamagedError       bytes that are not what was written: run `cache-verify`
└── FrameIdError            the caller asked for a frame that does not exist (also an IndexError)
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
