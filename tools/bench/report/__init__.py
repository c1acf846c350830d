"""What is said of the measurements: tables, plots, the machine."""
