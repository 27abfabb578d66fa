"""Memory of tables on disk: `fit` on a memory map or batches, `partial_fit` on parts.

Counts anonymous memory, which the system can't drop, above its size after the imports:
pages of a mapped file are not counted. The held-out log-likelihood shows what the ways
have learnt from the same rows.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from _report import parser, report

CHILD = """
import json, sys, threading, time
import numpy as np, pandas as pd, torch, torch._dynamo, pyarrow.parquet as pq
from skebm import EBMDensityEstimator
from skebm.datasets import sample_rows
way, folder, n_part, threads = json.loads(sys.argv[1])
torch.set_num_threads(threads)

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(l.split()[1]) * 1024 for l in status if l.startswith("RssAnon"))

def watch():
    while not ended:
        seen.append(anonymous())
        time.sleep(0.01)

X = np.load(f"{folder}/rows.npy", mmap_mode="r")
test = np.load(f"{folder}/test.npy")
model = EBMDensityEstimator(
    "nce", network="mlp", reference="gaussian", normalizer="importance", max_iter=1,
    batch_size=1000, ood_score="log_density", random_state=0,
)
model.fit(test[:2000])  # what torch allocates once
model = model.set_params(random_state=1)
ended, seen, before = [], [], anonymous()
watcher = threading.Thread(target=watch)
watcher.start()
started = time.perf_counter()
if way == "fit, in memory":
    X = np.array(X)
if way.startswith("fit, batches"):
    n_rows = int(way.split()[-2])
    model.set_params(max_iter=len(X) // n_rows)  # as many steps
    batches = pq.ParquetFile(f"{folder}/rows.parquet").iter_batches(n_part)
    model.fit(sample_rows(batches, n_rows, random_state=0))
    test = pd.DataFrame(test, columns=[f"x{j}" for j in range(X.shape[1])])
elif way.startswith("fit"):
    model.fit(X)
else:
    model = type(model)(**model.get_params())
    # Spread over the file: scaling and reference are those of the first call.
    some = X[:: max(1, len(X) // n_part)]
    if way.endswith("parquet"):
        some = pd.DataFrame(some, columns=[f"x{j}" for j in range(X.shape[1])])
        test = pd.DataFrame(test, columns=some.columns)
    model.partial_fit(some)
    if way == "partial_fit, memmap":
        for start in range(0, len(X), n_part):
            model.partial_fit(X[start : start + n_part])
    else:
        for part in pq.ParquetFile(f"{folder}/rows.parquet").iter_batches(n_part):
            model.partial_fit(part)
seconds = time.perf_counter() - started
ended.append(True)
watcher.join()
print(json.dumps({
    "peak_megabytes": (max(seen) - before) / 1e6,
    "peak_over_data": (max(seen) - before) / X.nbytes,
    "held_out_log_likelihood": float(model.score_samples(test).mean()),
    "seconds": seconds,
}))
"""
WAYS = (
    "fit, in memory",
    "fit, memmap",
    "fit, batches, 10000 rows",
    "fit, batches, 100000 rows",
    "fit, batches, 1000000 rows",
    "partial_fit, memmap",
    "partial_fit, parquet",
)


def write_table(folder, n_rows, n_columns):
    """Write rows of a ring in each pair of columns, in no order."""
    import pandas as pd

    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, (n_rows + 5000, n_columns // 2))
    X = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    X = (X + 0.1 * rng.standard_normal(X.shape)).astype(np.float32)
    np.save(folder / "test.npy", X[:5000])
    np.save(folder / "rows.npy", X[5000:])
    frame = pd.DataFrame(X[5000:], columns=[f"x{j}" for j in range(X.shape[1])])
    frame.to_parquet(folder / "rows.parquet", row_group_size=20_000)


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--columns", type=int, default=20)
    options.add_argument("--part", type=int, default=20_000, help="rows of a part")
    options.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    args = options.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder), args.rows, args.columns)
        for way in args.ways:
            case = json.dumps([way, folder, args.part, args.threads])
            done = subprocess.run(
                [sys.executable, "-c", CHILD, case],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            rows.append({"way": way, **json.loads(done.stdout.splitlines()[-1])})
    report("larger_than_memory", rows, n_rows=args.rows, n_columns=args.columns)


if __name__ == "__main__":
    main()
