"""Training of the `everyday` networks, from scratch, on drawn scenes."""
