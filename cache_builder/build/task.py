"""What a build is to make: its inputs, and what decides the bytes of each camera."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cache_builder.columns import DatasetColumns
from cache_builder.gpu import DecoderChoice
from cache_builder.inputs import Inputs, configs_of_files, fingerprint
from cache_builder.settings import BuildConfig
from cache_builder.stages import library_versions
from cache_builder.video.scan import VideoScan


@dataclass(frozen=True, kw_only=True, eq=False)
class BuildTask:
    """A build, once all files are scanned."""

    inputs: Inputs
    configs: list[BuildConfig]
    """Of each of `inputs.parts`."""
    decoders: DecoderChoice
    dataset: DatasetColumns | None

    @cached_property
    def configs_of_files(self) -> list[BuildConfig]:
        """The configuration of each file."""
        return configs_of_files(self.inputs, self.configs)

    @cached_property
    def dataset_digest(self) -> str | None:
        """SHA-256 of what the source states beside its videos; None for plain videos."""
        return None if self.dataset is None else self.dataset.digest

    def fingerprints(self) -> list[str]:
        """Of the generation of each of `inputs.parts`."""
        return [
            fingerprint(self.inputs, config, self.decoders, camera=part, dataset=self.dataset_digest)
            for part, config in zip(self.inputs.parts, self.configs, strict=True)
        ]

    def identity(self, config: BuildConfig) -> dict[str, Any]:
        """What a folder of unfinished work belongs to; `config` is what all cameras have in common."""
        inputs, digest = self.inputs, self.dataset_digest
        videos: dict[str, str] = {}
        others: dict[str, Any] = {}
        for part, of_part in zip(inputs.parts, self.configs, strict=True):
            where = "" if part is None else f"camera {part}: "
            videos |= {where + path: content for path, content in inputs.identity(part).items()}
            own = inputs.order_identity(part) | inputs.span_identity(part)
            others |= {where + name: value for name, value in own.items()}
            if part is not None:
                others[f"camera {part}"] = of_part.to_builtins()
        return {
            "config": (config if inputs.cameras else self.configs[0]).to_builtins(),
            "library_versions": library_versions(self.decoders),
            "videos": videos,
            **others,
            **self.decoders.identity(),
            **({} if digest is None else {"values beside the videos": digest}),
        }

    def num_frames_at_most(self, file_id: int) -> int:
        """About how many frames of a file are decoded to be stored, before `--stride`."""
        scan, episodes = self.inputs.scans[file_id], self.inputs.episodes().get(file_id)
        if not isinstance(scan, VideoScan):
            return 0
        if episodes is None:
            return scan.facts.num_packets
        return min(scan.facts.num_packets, sum(len(span.frame_seconds) for _, span in episodes))
