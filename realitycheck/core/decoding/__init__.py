"""Image files to pixels, exactly or not at all."""
