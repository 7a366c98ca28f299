"""Generated data sets, whose true masks are known exactly."""
