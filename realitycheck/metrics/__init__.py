"""Metrics of masks and verdicts, and the uncertainty of each."""
