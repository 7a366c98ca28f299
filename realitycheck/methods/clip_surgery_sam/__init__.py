"""CLIP Surgery prompts SAM with points."""
