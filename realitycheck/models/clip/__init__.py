"""CLIP and CLIP Surgery."""
