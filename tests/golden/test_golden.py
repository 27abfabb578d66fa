"""Small fits of every estimator, whose scores stay: no default or draw changes."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
#: What differs by more is no rounding of another CPU.
TOLERANCE = {"rel": 1e-3, "abs": 1e-3}
#: Of single values, which are less even than a mean.
TOLERANCE_OF_VALUES = {"rel": 2e-3, "abs": 2e-3}
#: Outputs that are no draws, which a rounding error can flip.
SUMMARIZED = ("score_samples", "ood_scores", "predict_proba", "transform")
COMPARED = (*SUMMARIZED, "marginal")
#: Suffix of the names of single values.
FIRST = "[:3]"


def _load_fits():
    path = HERE.parents[1] / "benchmarks" / "golden_fits.py"
    spec = importlib.util.spec_from_file_location("golden_fits", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden_fits = _load_fits()
SCORES = json.loads((HERE / "scores.json").read_text())


def summarize(record):
    """Return root mean squares of a fit's outputs, by name, and values of three rows.

    The values tell permuted rows, which have the same mean.
    """
    means = {
        key: float(np.sqrt(np.mean(np.square(record[key]))))
        for key in SUMMARIZED
        if key in record
    }
    return means | {
        key + FIRST: np.asarray(record[key]).reshape(len(record[key]), -1)[:3, 0]
        for key in COMPARED
        if key in record
    }


def test_every_fit_has_its_scores():
    assert sorted(SCORES) == sorted(golden_fits.FITS)


@pytest.mark.parametrize("name", SCORES)
def test_scores_stay(name):
    found, expected = summarize(golden_fits.run(name)), SCORES[name]
    assert found.keys() == expected.keys()
    for key, value in found.items():
        tolerance = TOLERANCE_OF_VALUES if key.endswith(FIRST) else TOLERANCE
        assert value == pytest.approx(expected[key], **tolerance), key


def write_scores():
    """Write the summaries of today: for a change of numbers that is meant."""
    scores = {
        name: {key: np.round(v, 5).tolist() for key, v in summarize(run).items()}
        for name, run in ((name, golden_fits.run(name)) for name in golden_fits.FITS)
    }
    (HERE / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    write_scores()
