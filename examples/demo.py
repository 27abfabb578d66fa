"""Run the examples that take little time, print what they print, save their pictures.

Usage: python examples/demo.py [names of examples, or: all]
"""

import runpy
import sys
import time
import warnings
from pathlib import Path

HERE = Path(__file__).parent
OUTPUT = Path("examples/output")
#: Seconds of each on one quiet core; the quickest first.
SECONDS = {
    "plot_regression": 2,
    "plot_rbm_features": 2,
    "plot_outliers": 3,
    "plot_missing_value": 3,
    "plot_class_shares": 5,
    "plot_log_normalizer": 7,
    "plot_conditionals": 6,
    "plot_columns": 7,
    "plot_customers": 9,
    "plot_composition": 10,
    "plot_strange_reading": 10,
    "plot_pipeline": 33,
    "plot_drift": 12,
    "plot_out_of_distribution": 22,
    "plot_few_labels": 45,
}


def save_figures(plt, name):
    """Save the figures that an example has left open; return their files."""
    files = []
    for number in plt.get_fignums():
        files.append(OUTPUT / f"{name}{'' if len(files) == 0 else len(files)}.png")
        plt.figure(number).savefig(files[-1], dpi=120)
    plt.close("all")
    return files


def main(names):
    """Run the examples of these names, or the quick ones."""
    if names == ["all"]:
        names = sorted(path.stem for path in HERE.glob("plot_*.py"))
    names = names or list(SECONDS)
    seconds = sum(SECONDS.get(name, 45) for name in names)
    print(f"{len(names)} examples, about {seconds} s; pictures: {OUTPUT}", flush=True)

    import matplotlib  # after the first line: it takes a while
    from sklearn.exceptions import ConvergenceWarning

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    # The networks and regressions of other methods stop at their own iteration limits.
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", message=".*is non-interactive")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for name in names:
        print(f"\n--- {name}, about {SECONDS.get(name, 45)} s", flush=True)
        started = time.perf_counter()
        runpy.run_path(str(HERE / f"{name}.py"), run_name="__main__")
        for file in save_figures(plt, name):
            print(f"saved {file}")
        print(f"--- {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
