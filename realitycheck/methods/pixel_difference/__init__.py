"""Difference from an aligned reference image."""
