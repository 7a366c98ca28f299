"""Supervised baseline: an MLP on frozen ResNet features."""
