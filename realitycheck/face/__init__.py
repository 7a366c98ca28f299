"""What a run shows on the terminal: one line per job, a bar, warnings and stops in full."""
