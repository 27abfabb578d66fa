"""Peak memory of one epoch of `fit` on a million rows, as a multiple of the data.

It counts the resident set minus its size after the imports, including torch's deferred
imports (its first optimiser imports its compiler); X itself is counted.
"""

import json
import subprocess
import sys

from _report import parser, report

CHILD = """
import json, resource, sys, time
import numpy as np, torch, torch._dynamo
from skebm import EBMDensityEstimator
n_rows, n_columns, threads, reference = json.loads(sys.argv[1])
torch.set_num_threads(threads)
def current():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
after_imports = current()
X = np.random.default_rng(0).standard_normal((n_rows, n_columns), dtype=np.float32)
started = time.perf_counter()
EBMDensityEstimator(max_iter=1, reference=reference, random_state=0).fit(X)
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"ratio": (peak - after_imports) / X.nbytes, "seconds": seconds}))
"""


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--columns", type=int, default=30)
    options.add_argument("--references", nargs="+", default=["gmm", "gaussian"])
    args = options.parse_args()
    rows = []
    for reference in args.references:
        case = json.dumps([args.rows, args.columns, args.threads, reference])
        done = subprocess.run(
            [sys.executable, "-c", CHILD, case],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        result = json.loads(done.stdout.splitlines()[-1])
        rows.append({"reference": reference, "peak_over_data": result["ratio"]})
        rows[-1]["seconds_for_one_epoch"] = result["seconds"]
    report("memory", rows, n_rows=args.rows, n_columns=args.columns, limit=3.0)


if __name__ == "__main__":
    main()
