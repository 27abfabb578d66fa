"""The methods of ``semi_supervised.py``, with the default settings of their authors.

scikit-learn's supervised methods are fitted to the labelled rows; the scaling of the
columns uses the unlabelled rows too.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from skebm import JEMClassifier
from skebm.networks import MLP
from skebm.objectives import VERA

#: Every unsupervised term of JEMClassifier at zero weight.
SUPERVISED = {
    "objective": None,
    "graph_weight": 0,
    "prediction_entropy_weight": 0,
    "vat_weight": 0,
    "balance_weight": 0,
    "stacking": False,
}
#: Number of seeds of a slow method, if the other methods have more.
FEW_SEEDS = {"VAT net": 3, "VERA-JEM": 3, "JEM by SGLD": 3}


class LabeledRows(ClassifierMixin, BaseEstimator):
    """A supervised classifier that drops unlabelled rows."""

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y):
        self.estimator_ = clone(self.estimator).fit(X[y != -1], y[y != -1])
        self.classes_ = self.estimator_.classes_
        return self

    def predict(self, X):
        return self.estimator_.predict(X)

    def predict_proba(self, X):
        return self.estimator_.predict_proba(X)


class CalibratedSVC(ClassifierMixin, BaseEstimator):
    """Classes of an SVC, with probabilities by cross-validated calibration.

    C = 10 is better than the default of 1 on all four tables of the SSL book. If some
    class has only one label, which no fold can hold out, the probabilities are the
    softmax of the decision values.
    """

    def fit(self, X, y):
        self.machine_ = SVC(C=10).fit(X, y)
        self.classes_, counts = np.unique(y, return_counts=True)
        self.calibrated_ = None
        if counts.min() > 1:
            folds = min(5, counts.min())
            calibrated = CalibratedClassifierCV(SVC(C=10), cv=folds, ensemble=False)
            self.calibrated_ = calibrated.fit(X, y)
        return self

    def predict(self, X):
        return self.machine_.predict(X)

    def predict_proba(self, X):
        if self.calibrated_ is not None:
            return self.calibrated_.predict_proba(X)
        decision = self.machine_.decision_function(X)
        if decision.ndim == 1:
            decision = np.stack([-decision, decision], axis=1) / 2
        return softmax(decision, axis=1)


def jem(seed, objective="nce", **options):
    """Return JEMClassifier without log Z, which p(y|x) does not need."""
    return JEMClassifier(objective, normalizer=None, random_state=seed, **options)


def vat_net(seed):
    """Return the network with virtual adversarial training and entropy, as published.

    Weights of 1 and a radius of 2 in standardised units.
    """
    options = SUPERVISED | {
        "classification_weight": 1.0,
        "vat_weight": 1.0,
        "vat_radius": 2.0,
        "prediction_entropy_weight": 1.0,
    }
    return jem(seed, **options)


#: One head, as published: the critic is the logsumexp of the classes' logits.
ONE_HEAD = partial(MLP, hidden_features=(256, 256))


def vera_jem(seed):
    """Return JEM trained by VERA as published, without further losses.

    lambda, alpha and beta are the best of five choices on one split of two tables: see
    ``docs/notes/semi_supervised.md``.
    """
    density = VERA(
        entropy_weight=1e-2,
        gradient_penalty=0.1,
        importance_weights=False,
        reference_share=0.0,
        local_share=0.0,
    )
    options = SUPERVISED | {
        "objective": density,
        "classification_weight": 30.0,
        "prediction_entropy_weight": 1.0,
    }
    return jem(seed, reference=None, network=ONE_HEAD, **options)


def jem_by_sgld(seed):
    """Return JEM as published, by SGLD chains with a replay buffer, on a box."""
    options = SUPERVISED | {"objective": "jem", "classification_weight": 1.0}
    return jem(seed, reference=None, network=ONE_HEAD, **options)


#: Functions of the seed, by name; each returns the classifier that follows the scaler.
METHODS = {
    "JEMClassifier": jem,
    "JEMClassifier, no density": lambda seed: jem(seed, None),
    "supervised net": lambda seed: jem(seed, **SUPERVISED),
    "MLP": lambda seed: LabeledRows(
        MLPClassifier((256, 256), max_iter=500, random_state=seed)
    ),
    "SVC": lambda seed: LabeledRows(CalibratedSVC()),
    # The default leaves of 20 rows make the trees of the smallest tables constant.
    "gradient boosting": lambda seed: LabeledRows(
        HistGradientBoostingClassifier(min_samples_leaf=5, random_state=seed)
    ),
    "logistic regression": lambda seed: LabeledRows(LogisticRegression(max_iter=1000)),
    "logistic regression, C = 0.1": lambda seed: LabeledRows(
        LogisticRegression(C=0.1, max_iter=1000)
    ),
    "random forest": lambda seed: LabeledRows(
        RandomForestClassifier(300, random_state=seed)
    ),
    "extra trees": lambda seed: LabeledRows(
        ExtraTreesClassifier(300, random_state=seed)
    ),
    "self-training forest": lambda seed: SelfTrainingClassifier(
        RandomForestClassifier(300, random_state=seed)
    ),
    "self-training SVC": lambda seed: SelfTrainingClassifier(CalibratedSVC()),
    "self-training logistic": lambda seed: SelfTrainingClassifier(
        LogisticRegression(max_iter=1000)
    ),
    "LabelSpreading": lambda seed: LabelSpreading(kernel="knn", n_neighbors=7),
    "VAT net": vat_net,
    "VERA-JEM": vera_jem,
    "JEM by SGLD": jem_by_sgld,
}
