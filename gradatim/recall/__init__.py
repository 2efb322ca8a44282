"""Answering with what was learnt: which lesson a question belongs to, what that lesson tells, and whether it fits."""

from gradatim.recall.minds import Minds, Reply
from gradatim.recall.studied import STUDIED_FILE, Studied

__all__ = ["STUDIED_FILE", "Minds", "Reply", "Studied"]
