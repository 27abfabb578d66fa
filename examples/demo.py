"""Run every example, and print the time that each takes."""

import runpy
import time
import warnings
from pathlib import Path

import matplotlib
from sklearn.exceptions import ConvergenceWarning

matplotlib.use("Agg")
# The networks and regressions of other methods stop at their own iteration limits.
warnings.simplefilter("ignore", ConvergenceWarning)

for name in (
    "plot_few_labels",
    "plot_semi_supervised_settings",
    "plot_out_of_distribution",
    "plot_pipeline",
    "plot_search",
    "plot_density",
    "plot_columns",
    "plot_conditionals",
    "plot_stacked_rbms",
    "plot_composition",
):
    print(f"\n--- {name}", flush=True)
    started = time.perf_counter()
    runpy.run_path(str(Path(__file__).parent / f"{name}.py"), run_name="__main__")
    print(f"--- {time.perf_counter() - started:.0f} s", flush=True)
