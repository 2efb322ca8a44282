"""Gradatim: a deployed language model improves itself, one verified step at a time."""

__version__ = "0.1.0"
