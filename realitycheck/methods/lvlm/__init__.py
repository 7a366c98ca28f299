"""Verdicts of a large vision and language model."""
