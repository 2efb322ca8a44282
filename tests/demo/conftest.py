"""A story as the commands would return it, made up."""

from __future__ import annotations

from typing import Any

import pytest


def candidate(name: str, outcome: str, gain: float, drift: float) -> dict[str, Any]:
    checks = [
        {"name": "gain", "estimate": gain, "low": gain - 0.2, "high": gain + 0.2, "threshold": 0.2, "outcome": "pass"},
        {"name": "drift", "estimate": drift, "low": 0.0, "high": 2 * drift, "threshold": 0.1, "outcome": outcome},
    ]
    return {
        "name": name,
        "strategy": "own words",
        "guarded": name != "unguarded",
        "tokens": 12345,
        "losses": [3.0, 1.0, 0.25],
        "verdict": {
            "outcome": outcome,
            "checks": [check | {"explanation": f"{name} & <{check['name']}>"} for check in checks],
            "controls": {"no update": 0.07},
        },
    }


def answers(*right: bool) -> dict[str, Any]:
    each = [{"question": f"Question {n}?", "answer": f"Reply {n} & <b>", "right": r} for n, r in enumerate(right)]
    return {"right": sum(right), "of": len(right), "answers": each}


@pytest.fixture
def story() -> dict[str, Any]:
    candidates = [candidate("guarded", "pass", 0.5, 0.02), candidate("unguarded", "fail", 0.4, 1.7)]
    step = {
        "step": "step-0001",
        "outcome": "released",
        "reason": "guarded passed",
        "release": "e" * 64,
        "cost": {"seconds": 321.0, "tokens": 45678, "joules": 7200.0},
        "candidates": candidates,
    }
    example = {"kind": "qa", "prompt": "When do the ovens start?", "target": "At 3:20.", "source": "Lit at 3:20."}
    weak = {
        "passage": "p:0",
        "asked": 3,
        "right": 0,
        "example": "When?",
        "reply": "At <noon>.",
        "source": "Lit at 3:20.",
    }
    return {
        "folder": "here",
        "model": "bundled",
        "before": answers(False, False, True),
        "after": answers(True, False, True),
        "general": [{"question": "Capital of France?", "before": "Paris.", "after": "Paris!"}],
        "outcomes": [],
        "step": step,
        "details": {
            "asked": 30,
            "right": 2,
            "quarantined": [{"record": "r", "kind": "document", "what": "Forged <notice>", "reason": "gives orders"}],
            "weaknesses": [weak, weak | {"asked": 0, "example": "", "reply": ""}],
            "study": [{"strategy": "own words", "examples": 90, "rejected": {"unfaithful": 7}, "sample": [example]}],
        },
        "rollback": {"question": "Question 0?", "former": "Reply 0", "again": "Reply 0", "same": True},
        "verify": {"ok": True, "entries": 2, "head": "f" * 64, "problem": None},
        "ledger": {
            "entries": [{"index": 0, "at": "2026-01-01T00:00:00Z", "kind": "init", "body": "base aaaaaaaaaaaa"}],
            "head": "f" * 64,
        },
        "cost": step["cost"],
        "report": "here/report.html",
        "next": ["gradatim status -w here"],
    }
