"""One folder per network: it loads official checkpoints and hides the package behind it."""
