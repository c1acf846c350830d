"""Command-line tools around the frame cache, shipped as `frame_cache_tools`."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the warning's text is raised as an error below
    from frame_store.shared import hidden_loader_text

if (_error := hidden_loader_text()) is not None:
    raise ImportError(_error, name=__name__)  # with the name, `python -m` prints the text without a traceback
