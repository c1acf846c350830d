"""Sample videos whose pixels spell their video and frame number."""
