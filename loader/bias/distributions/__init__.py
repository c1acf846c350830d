"""Which frames each sampling shows, and how often: one module for each kind of sampling."""

from loader.bias.distributions.every_sampling import sampling_law
from loader.bias.distributions.law import SamplingLaw, Target

__all__ = ["SamplingLaw", "Target", "sampling_law"]
