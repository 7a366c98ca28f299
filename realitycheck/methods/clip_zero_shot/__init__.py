"""Zero-shot classification of whole images by CLIP."""
