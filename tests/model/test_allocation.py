"""A large block that was freed is taken again without a page fault for each of its pages."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from gradatim.model.allocation import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(8 * 2**20)  # 64 MiB, each page touched
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "keep":
    assert keep_freed_memory()
print(faults(), faults(), faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_freed_blocks_are_kept() -> None:
    counted = {}
    for mode in ("keep", "leave"):
        run = subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True)
        counted[mode] = [int(count) for count in run.stdout.split()]
    assert counted["keep"][2] < 0.1 * counted["leave"][2]
