"""Who is served, and the way back."""

from gradatim.release.registry import Move, Registry

__all__ = ["Move", "Registry"]
