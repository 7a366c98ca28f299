"""Segmenter: what is red is a defect."""
