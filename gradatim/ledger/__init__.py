"""What happened, in an order that nobody can quietly change: an append-only Merkle log with signed checkpoints."""

from gradatim.ledger.entry import Entry
from gradatim.ledger.log import Ledger

__all__ = ["Entry", "Ledger"]
