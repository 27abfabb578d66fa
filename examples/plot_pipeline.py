"""
Pipeline and grid search
========================

Breast cancer, with labels for one training row in ten. A grid search over the entropy
weight of the objective, scored on labelled rows only: `score` ignores unlabelled rows.
"""

# %%
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skebm import JEMClassifier
from skebm.model_selection import SemiSupervisedSplit
from skebm.objectives import VERA

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.3, stratify=y, random_state=0
)
rng = np.random.RandomState(0)
y_few = np.where(rng.uniform(size=len(y_train)) < 0.1, y_train, -1)

# %%
pipeline = Pipeline(
    [
        ("scale", StandardScaler()),
        (
            "jem",
            JEMClassifier(VERA(), normalizer=None, max_iter=100, random_state=0),
        ),
    ]
)
search = GridSearchCV(
    pipeline,
    {"jem__objective__entropy_weight": [0.1, 1.0]},
    cv=SemiSupervisedSplit(3, shuffle=True, random_state=0),
    n_jobs=2,
)
search.fit(X_train, y_few)
print(f"Breast cancer, {np.sum(y_few >= 0)} labels of {len(y_few)} rows")
print(f"  best {search.best_params_}, cross-validated {search.best_score_:.3f}")
print(f"  held-out accuracy {search.score(X_test, y_test):.3f}")
