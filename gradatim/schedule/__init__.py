"""Steps that nobody asks for: when one is worth taking and may be taken, and the process that takes them.

situation   what the workspace says at a moment: what waits, what the last day took, how the last steps ended
deciding    whether to step now: every condition, with what it found and the charter's line
stepping    the child process in which a step is taken, with little priority
keeping     `gradatim run`: look, decide, step, until told to stop
"""

from gradatim.schedule.deciding import Condition, Decision, decide
from gradatim.schedule.situation import Situation, read_situation

__all__ = ["Condition", "Decision", "Situation", "decide", "read_situation"]
