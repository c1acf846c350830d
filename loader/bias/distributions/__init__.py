"""Which frames each sampling shows, and how often: one module for each kind of sampling."""

from loader.bias.distributions.every_sampling import sampling_law
from loader.bias.distributions.law import SamplingLaw, Target
from loader.bias.distributions.window_frames import WindowsOfVideos, offsets_of
from loader.bias.distributions.windows import WindowCoverage

__all__ = ["SamplingLaw", "Target", "WindowCoverage", "WindowsOfVideos", "offsets_of", "sampling_law"]
