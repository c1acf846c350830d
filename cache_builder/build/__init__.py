"""The stages of a build, from a folder of videos to a published cache."""
