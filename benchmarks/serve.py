"""What serving costs and withstands, each part in a run of its own processes.

    python benchmarks/serve.py [--only PART …] [--seconds S] [--rate R] [--litellm DIR]

- overhead: what we take before an upstream, at `--rate` requests a second, with LiteLLM's proxy beside it (installed
  into DIR on first use, a virtual environment of its own; `none` leaves it out)
- decode: eight streams on the bundled model beside the same requests one by one through transformers' `generate`
- swap: sixteen clients streaming while releases are promoted and rolled back fifty times
- kill: `kill -9` of the server under load, twenty times
- memory: long prompts at once against a cap on the memory of keys and values
- hostile: ten thousand bodies that nobody means well

Each part prints a table; the last line is one JSON object. Times depend on who else uses the machine: its load is in
the object. Where two things are compared they take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib import import_module

PARTS = ("overhead", "decode", "swap", "kill", "memory", "hostile")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=20.0, help="of load, in each round of `overhead`")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second of `overhead`")
    parser.add_argument("--kills", type=int, default=20, help="of `kill`")
    parser.add_argument("--decode-tokens", type=int, default=48, help="of each reply of `decode`")
    parser.add_argument("--bundled-moves", type=int, default=20, help="of `swap`, on the bundled model")
    parser.add_argument(
        "--models", nargs="+", choices=("tiny", "bundled"), default=["tiny", "bundled"], help="of `swap`"
    )
    parser.add_argument("--litellm", default="~/.cache/gradatim/litellm", metavar="DIR")
    options = parser.parse_args()
    found = {"cores": os.cpu_count(), "load_before": [round(load, 2) for load in os.getloadavg()]}
    for part in options.only:
        found[part] = import_module(f"serving.{part}").run(options)
        sys.stdout.flush()
    found["load_after"] = [round(load, 2) for load in os.getloadavg()]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
