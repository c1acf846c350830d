"""The settings of a build: their values, files and presets."""
