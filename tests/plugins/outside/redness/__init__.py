"""Classifier: a part with much red is defective."""
