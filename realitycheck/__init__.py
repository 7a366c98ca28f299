"""RealityCheck: can a foundation model inspect this product?

Imports nothing: the Snakefile, every script and every environment import this package, and most of
them need only a part of it.
"""
