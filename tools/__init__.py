"""Command-line tools around the frame cache, shipped as `frame_cache_tools`."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the same is an error here
    from frame_store.shared import foreign_loader, hidden_text

if (_foreign := foreign_loader()) is not None:
    raise ImportError(
        hidden_text(_foreign), name=__name__
    )  # with the name, `python -m` says it without a traceback
