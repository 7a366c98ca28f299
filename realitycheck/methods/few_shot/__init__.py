"""A memory bank of good parts' patch features (PatchCore)."""
