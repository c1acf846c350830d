"""The versions in a manifest."""

import importlib.metadata

import frame_store
from cache_builder.gpu.decoder_choice import DecoderChoice
from cache_builder.stages.identity import library_versions


def test_a_checkout_that_is_not_installed_knows_its_version(monkeypatch):
    versions = library_versions(DecoderChoice())
    installed = importlib.metadata.version

    def version(name):
        if name == "frame-cache":
            raise importlib.metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert library_versions(DecoderChoice()) == versions
    assert versions["frame-cache"] == frame_store.__version__
