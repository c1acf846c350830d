"""What is measured: ways to read frames, and the limits of the machine."""
