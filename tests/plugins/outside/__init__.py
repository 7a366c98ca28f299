"""Methods from elsewhere."""
