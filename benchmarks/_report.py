"""What the benchmark scripts share: a table on the screen, a JSON file beside it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
import sklearn
import torch

import skebm

RESULTS = Path(__file__).parent / "results"


def parser(description, seeds=3):
    """Return an argument parser with the options that every script has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--seeds", type=int, default=seeds, help="number of seeds")
    options.add_argument("--threads", type=int, default=2, help="torch threads")
    return options


def environment():
    """Return machine and versions, without names of hosts or paths."""
    return {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "skebm": skebm.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def report(name, rows, **settings):
    """Print the rows as a table and write them to ``results/<name>.json``."""
    print(pd.DataFrame(rows).to_string(index=False, float_format="%.4f"))
    RESULTS.mkdir(exist_ok=True)
    payload = {"environment": environment(), "settings": settings, "rows": rows}
    text = json.dumps(payload, indent=1, default=float)
    (RESULTS / f"{name}.json").write_text(text + "\n")
