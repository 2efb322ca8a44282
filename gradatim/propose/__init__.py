"""Propose: what should the model study? Its own material about the passages it does not know."""

from gradatim.propose.base import Material
from gradatim.propose.filters import admit
from gradatim.propose.strategies import STRATEGIES, build, choose_strategy

__all__ = ["STRATEGIES", "Material", "admit", "build", "choose_strategy"]
