"""Shared parts of the benchmark scripts: options, the printed table, the JSON file."""

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
    """Return an argument parser with the options of every script."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--seeds", type=int, default=seeds, help="number of seeds")
    options.add_argument("--threads", type=int, default=2, help="torch threads")
    return options


def environment():
    """Return the processor and the versions, without names of hosts or paths."""
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
    save(name, rows, **settings)


def save(name, rows, **settings):
    """Write the rows to ``results/<name>.json``, one per line."""
    RESULTS.mkdir(exist_ok=True)
    about = {"environment": environment(), "settings": settings}
    lines = ",\n  ".join(json.dumps(row, default=float) for row in rows)
    text = json.dumps(about, indent=1, default=float).removesuffix("\n}")
    (RESULTS / f"{name}.json").write_text(f'{text},\n "rows": [\n  {lines}\n ]\n}}\n')


def earlier_rows(name, rows, key):
    """Return the rows of earlier runs whose key columns are not among these rows."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return []
    done = {tuple(row[column] for column in key) for row in rows}
    earlier = json.loads(path.read_text())["rows"]
    return [row for row in earlier if tuple(row[c] for c in key) not in done]


def reference_scores(model, X):
    """Return log densities of a model's reference: log q0 = log p + E + log Z."""
    return model.score_samples(X) + model.energy(X) + model.log_normalizer_
