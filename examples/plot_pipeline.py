"""
Does it work in a pipeline and a grid search?
=============================================

Breast cancer, with labels for one training row in ten. A grid search over a step before
the classifier, with folds that keep all unlabelled rows in training:
`skebm.model_selection.SemiSupervisedSplit`. ``score`` ignores unlabelled rows.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skebm import JEMClassifier
from skebm.model_selection import SemiSupervisedSplit

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.3, stratify=y, random_state=0
)
rng = np.random.RandomState(0)
y_few = np.where(rng.uniform(size=len(y_train)) < 0.1, y_train, -1)

# %%
jem = JEMClassifier(None, stacking=False, graph_weight=0, max_iter=30, random_state=0)
pipeline = make_pipeline(StandardScaler(), PCA(random_state=0), jem)
search = GridSearchCV(
    pipeline,
    {"pca__n_components": [1, 2, 5, 20]},
    cv=SemiSupervisedSplit(4, shuffle=True, random_state=0),
)
search.fit(X_train, y_few)
print(f"{np.sum(y_few >= 0)} labels of {len(y_few)} rows; best {search.best_params_}")
print(f"held-out accuracy {search.score(X_test, y_test):.3f}")

# %%
found = search.cv_results_
names = [str(params["pca__n_components"]) for params in found["params"]]
error = found["std_test_score"] / np.sqrt(search.n_splits_)
figure, axis = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
axis.errorbar(names, found["mean_test_score"], error, fmt="o", capsize=4)
axis.set(xlabel="principal components", ylabel="accuracy on left-out labels")
plt.show()
