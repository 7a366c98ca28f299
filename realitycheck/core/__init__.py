"""What every other package builds on; imports nothing else of the project."""
