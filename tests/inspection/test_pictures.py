"""Pictures of fixed numbers, compared with stored ones.

``python -m tests.inspection.test_pictures`` draws those to store anew.
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.testing.compare import compare_images
from sklearn.neighbors import KernelDensity

from skebm.evaluation import LogNormalizer
from skebm.inspection import (
    DensityDisplay,
    ExplanationDisplay,
    ImagesDisplay,
    LogNormalizerDisplay,
    ObjectiveComparisonDisplay,
    OODScoreDisplay,
    ReliabilityDisplay,
    SamplesDisplay,
    TrainingDisplay,
)
from skebm.inspection._history import TrainingRecord
from skebm.inspection._log_normalizer import LogWeights

BASELINE = Path(__file__).parent / "baseline"
#: The version of matplotlib that drew the stored pictures.
DRAWN_BY = (BASELINE / "matplotlib.txt").read_text().strip()


def rng():
    return np.random.RandomState(0)


def frame(n=200):
    x = rng().normal(size=n)
    return pd.DataFrame({"height": x, "weight": x + rng().uniform(size=n)})


def record(shift=0.0):
    epochs = np.arange(1, 11)
    figures = {
        "validation_log_likelihood": shift - 3 / epochs - 0.02 * epochs,
        "energy_loss": 4 / epochs,
    }
    held_out = ["validation_log_likelihood"]
    return TrainingRecord(figures, ["energy_loss"], held_out, [], 7, [3])


def density():
    X = frame()
    model = KernelDensity(bandwidth=0.3).fit(X.to_numpy())
    model.feature_names_in_ = np.array(X.columns)
    return DensityDisplay.from_estimator(model, X, ["height", "weight"])


def training():
    return TrainingDisplay(record()).plot()


def objectives():
    records = {"nce": record(), "vera": record(-0.5)}
    return ObjectiveComparisonDisplay(records, "validation_log_likelihood").plot()


def samples():
    kind = np.where(frame(60)["height"] > 0, "tall", "small")
    X = pd.DataFrame({"height": frame(60)["height"], "kind": kind})
    return SamplesDisplay.from_samples(X, X.assign(height=0.5 * X["height"]))


def images():
    return ImagesDisplay(rng().uniform(size=(2, 4, 5, 5)), ["threes", "eights"]).plot()


def outliers():
    normal, others = rng().normal(size=300), rng().normal(-3, 1, 100)
    return OODScoreDisplay.from_predictions(normal, others, threshold=-1.6)


def explanation():
    names = ["speed", "gear"]
    index = pd.MultiIndex.from_product([["a", "b"], names], names=["row", "column"])
    found = pd.DataFrame({"tail_probability": [1e-4, 0.5, 0.3, 0.02]}, index=index)
    return ExplanationDisplay(found).plot()


def reliability():
    probability = rng().dirichlet([1, 1, 1], 300)
    return ReliabilityDisplay.from_predictions(
        np.array([rng().choice(3, p=p) for p in probability]), probability, n_bins=6
    )


def log_normalizer():
    result = LogNormalizer(0.5, 0.05, 0.6, 100, "AIS", True, "", 0.6, 0.05)
    weights = LogWeights(rng().normal(0, 1, 900), rng().normal(1, 1, 900))
    return LogNormalizerDisplay(result, weights).plot()


PICTURES = [
    density,
    training,
    objectives,
    samples,
    images,
    outliers,
    explanation,
    reliability,
    log_normalizer,
]


def draw(function, path):
    with matplotlib.rc_context(), plt.style.context("default"):
        function().figure_.savefig(path, dpi=35)


@pytest.mark.parametrize("function", PICTURES)
def test_a_picture_is_like_the_stored_one(function, tmp_path):
    here = matplotlib.__version__.rsplit(".", 1)[0]
    if here != DRAWN_BY:
        pytest.skip(f"drawn by matplotlib {DRAWN_BY}, here is {here}")
    path = tmp_path / "drawn.png"
    draw(function, path)
    stored = BASELINE / f"{function.__name__}.png"
    assert compare_images(str(stored), str(path), tol=8) is None


if __name__ == "__main__":
    matplotlib.use("Agg")
    for picture in PICTURES:
        draw(picture, BASELINE / f"{picture.__name__}.png")


def test_what_pictures_need_is_imported_when_they_are_drawn(monkeypatch):
    import ast
    from pathlib import Path

    import skebm.inspection
    from skebm.inspection import OODScoreDisplay

    for path in Path(skebm.inspection.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            assert "import matplotlib" not in ast.unparse(node).split("\n")[0]
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"OODScoreDisplay needs .*skebm\[plot\]"):
        OODScoreDisplay.from_predictions([1.0], [0.0])
