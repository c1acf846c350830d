"""The parts of `examples/sampling_study.py`: clips, samplers, networks, what is measured, pictures, and the text."""
