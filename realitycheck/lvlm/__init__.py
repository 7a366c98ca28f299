"""Verdicts of large vision and language models: questions, paid answers, money, safety."""
