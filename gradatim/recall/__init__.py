"""Answering with what was learnt: which lesson a question belongs to, what that lesson tells, and whether it fits."""

from gradatim.recall.minds import Minds, Reply
from gradatim.recall.studied import Studied
from gradatim.store.adapters import STUDIED_FILE

__all__ = ["STUDIED_FILE", "Minds", "Reply", "Studied"]
