"""A program of the user's own, which runs in an environment of its own."""
