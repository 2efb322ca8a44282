"""Diagnose: where is the model weak, and why? Questions it wrote with the passage in view and fails without it."""

from gradatim.diagnose.closed_book import diagnose

__all__ = ["diagnose"]
