"""Data sets: one module per format, each turning files on disk into the same list of records."""
