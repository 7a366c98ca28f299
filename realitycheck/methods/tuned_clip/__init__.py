"""CLIP with a learned prompt (CoOp)."""
