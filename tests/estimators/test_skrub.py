"""Behind skrub's transformers of raw tables, as the guide has it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from skebm import EBMDensityEstimator, JEMClassifier

skrub = pytest.importorskip("skrub", reason="skrub is not installed")

RNG = np.random.RandomState(0)
FRAME = pd.DataFrame(
    {
        "paid": RNG.normal(size=80),
        "town": RNG.choice(["Rome", "Oslo"], 80),
        "day": pd.date_range("2024-01-01", periods=80),
    }
)
Y = np.where(np.arange(80) % 3, -1, (FRAME["paid"] > 0).astype(int))
FAST = {"reference": "gaussian", "normalizer": None, "max_iter": 1, "random_state": 0}


def test_a_density_takes_words_as_categories_after_a_table_vectorizer():
    vectorizer = skrub.TableVectorizer(low_cardinality=skrub.ToCategorical())
    model = make_pipeline(vectorizer, EBMDensityEstimator(**FAST))
    scores = model.fit(FRAME).score_samples(FRAME)
    assert np.isfinite(scores).all()
    mask = model[-1].is_categorical_
    assert model[-1].feature_names_in_[mask].tolist() == ["town"]


def test_a_classifier_ends_a_tabular_pipeline():
    classifier = JEMClassifier(**FAST | {"objective": None, "stacking": False})
    model = skrub.tabular_pipeline(classifier).fit(FRAME, Y)
    assert model.predict_proba(FRAME).shape == (80, 2)
