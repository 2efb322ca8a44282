"""`gradatim serve` with the base in fp32, whatever the machine would choose: so that texts can be held against others.

python benchmarks/serving/exact.py WORKSPACE PORT
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from gradatim.model.base import load_base
from gradatim.serve.engine import LocalEngine
from gradatim.serve.run import build, capacity, listen, run
from gradatim.serve.settings import read_settings
from gradatim.serve.telemetry import log_to_stderr
from gradatim.workspace import Workspace


def main(folder: Path, port: int) -> None:
    workspace = Workspace.open(folder)
    settings = read_settings(folder)
    source = workspace.base["source"]
    engine = LocalEngine(lambda: load_base(source, dtype=torch.float32), workspace.adapters, capacity(settings.limits))
    app, _ = build(workspace, os.environ, settings=settings, engine=engine)
    log_to_stderr()
    run(app, listen("127.0.0.1", port))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
