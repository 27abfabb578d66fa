"""Peak memory of one epoch of `JEMClassifier.fit`, as a multiple of the data.

A child process fits a small table first, so that deferred imports don't count. What
counts is the peak resident set during the second fit, less the resident set before it;
X itself is there before. Few rows have a label, the rest have none.
"""

import json
import subprocess
import sys

from _report import parser, report

CHILD = """
import json, resource, sys, time
import numpy as np, torch
from skebm import JEMClassifier

n_rows, n_columns, n_labels, n_classes, threads, seed = json.loads(sys.argv[1])
torch.set_num_threads(threads)

def resident(name):
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith(name))
    return int(line.split()[1]) * 1024

def make_rows(n):
    rng = np.random.default_rng(seed)
    truth = rng.integers(n_classes, size=n)
    centres = 2 * rng.standard_normal((n_classes, n_columns), dtype=np.float32)
    X = rng.standard_normal((n, n_columns), dtype=np.float32)
    for start in range(0, n, 10_000):
        X[start : start + 10_000] += centres[truth[start : start + 10_000]]
    labeled = rng.permutation(n)[: min(n_labels, n // 2)]
    y = np.full(n, -1)
    y[labeled] = truth[labeled]
    return X, y

def fit(X, y):
    JEMClassifier(max_iter=1, device="cpu", random_state=seed).fit(X, y)

fit(*make_rows(1000))
X, y = make_rows(n_rows)
before = resident("VmRSS")
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")  # the peak starts anew
started = time.perf_counter()
fit(X, y)
seconds = time.perf_counter() - started
peak = resident("VmHWM") - before
print(json.dumps({"bytes": peak, "of_data": X.nbytes, "seconds": seconds}))
"""


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--rows", type=int, default=300_000)
    options.add_argument("--columns", type=int, default=20)
    options.add_argument("--labels", type=int, default=300)
    options.add_argument("--classes", type=int, default=3)
    args = options.parse_args()
    rows = []
    for seed in range(args.seeds):
        case = [args.rows, args.columns, args.labels, args.classes, args.threads, seed]
        done = subprocess.run(
            [sys.executable, "-c", CHILD, json.dumps(case)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        result = json.loads(done.stdout.splitlines()[-1])
        row = {"seed": seed, "peak_over_data": result["bytes"] / result["of_data"]}
        row["peak_megabytes"] = result["bytes"] / 1e6
        rows.append(row | {"seconds_for_one_epoch": result["seconds"]})
    settings = {"n_rows": args.rows, "n_columns": args.columns}
    settings |= {"n_labels": args.labels, "n_classes": args.classes}
    report("classifier_memory", rows, **settings)


if __name__ == "__main__":
    main()
