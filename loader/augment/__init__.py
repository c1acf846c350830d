"""What happens to the pixels of a batch before training: crops, flips, colours, normalisation (AUGMENTATION.md)."""
