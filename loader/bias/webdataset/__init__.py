"""The order of plain `webdataset`: its distribution, its bias and its report."""

from loader.bias.webdataset.report import WebDatasetSpec, webdataset_report

__all__ = ["WebDatasetSpec", "webdataset_report"]
