"""Mirage: reproducible augmentation and generation of medical images."""

__version__ = "0.1.0"
