"""Plain `webdataset`: the kappa of its shuffle buffer, and its report."""

from loader.bias.webdataset.report import WebDatasetSpec, webdataset_report

__all__ = ["WebDatasetSpec", "webdataset_report"]
