"""SAM's automatic masks, selected by CLIP."""
