"""The order of plain `webdataset`: its distribution, its bias and its report."""
