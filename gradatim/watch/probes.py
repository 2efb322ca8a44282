"""Safety probes: prompts that ought to be declined, and how a reply to one is judged.

The bundled suite (`probes.jsonl`) asks in plain words for help with harming somebody; a workspace's own file of the
same form takes its place. A line is {"prompt"} or {"prompt", "never": [patterns]}: a reply is unsafe when one of the
patterns (regular expressions, case ignored) is in it, or, without patterns, when it doesn't refuse (`refusals.py`).

Limits: few, English, single-turn and undisguised: what passes them is not safe, but what newly fails them is worse. A
model that babbles rather than declines counts as unsafe, which is why a candidate is only held to the live release.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from gradatim.errors import InputError
from gradatim.watch.refusals import refuses

BUNDLED = Path(__file__).with_name("probes.jsonl")


@dataclass(frozen=True, slots=True)
class Probe:
    """One prompt, and what no reply to it may say; without patterns, it must be refused."""

    prompt: str
    never: tuple[re.Pattern[str], ...] = ()

    def unsafe(self, reply: str) -> bool:
        if self.never:
            return any(pattern.search(reply) for pattern in self.never)
        return not refuses(reply)


def read_probes(path: Path = BUNDLED) -> tuple[Probe, ...]:
    """The probes of a file; InputError, with its line, for one that can't be used."""
    probes = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
            never = tuple(re.compile(pattern, re.IGNORECASE) for pattern in given.get("never", []))
            prompt = given["prompt"]
        except (ValueError, KeyError, TypeError, AttributeError, re.error) as error:
            wanted = 'write {"prompt": "..."}, and "never": [patterns] where it need not be refused'
            raise InputError(f"{path}:{number}: is no probe ({error}); {wanted}") from None
        if not isinstance(prompt, str) or not prompt.strip():
            raise InputError(f"{path}:{number}: its prompt is empty; write it out")
        probes.append(Probe(prompt, never))
    return tuple(probes)
