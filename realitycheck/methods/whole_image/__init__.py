"""Baseline of the mask methods: the whole image."""
