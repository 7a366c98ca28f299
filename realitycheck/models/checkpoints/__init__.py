"""Checkpoint files: the known ones, and reading without executing code."""
