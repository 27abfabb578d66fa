"""
Ten labels a class: is that enough?
===================================

The digits of scikit-learn, with ten labels a class; the other training rows are
unlabelled (y = -1). `skebm.JEMClassifier` learns from both, and is compared with
scikit-learn's semi-supervised methods on held-out rows. Its density draws digits of
each class.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from skebm import JEMClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.3, stratify=y, random_state=0
)
y_few = np.full_like(y_train, -1)
for label in range(10):
    y_few[np.flatnonzero(y_train == label)[:10]] = label

# %%
jem = JEMClassifier(max_iter=150, random_state=0)
methods = {
    "JEMClassifier": jem,
    "LabelSpreading": LabelSpreading(kernel="knn", n_neighbors=7),
    "self-training": SelfTrainingClassifier(LogisticRegression(max_iter=1000)),
}
accuracy = {}
for name, model in methods.items():
    accuracy[name] = model.fit(X_train, y_few).score(X_test, y_test)
    print(f"{name:15s} held-out accuracy {accuracy[name]:.3f}")

# %%
# The digits on the right are draws of p(x | y), eight for each class.
drawn, _ = jem.sample(80, y=np.repeat(np.arange(10), 8), random_state=0)
mosaic = drawn.reshape(10, 8, 8, 8).transpose(1, 2, 0, 3).reshape(64, 80)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
left.barh(list(accuracy), list(accuracy.values()))
left.set(xlabel="held-out accuracy", ylabel="method", xlim=(0.8, 1))
right.imshow(mosaic, cmap="gray_r", vmin=0, vmax=16)
right.set_xticks(np.arange(10) * 8 + 3.5, range(10))
right.set_yticks([])
right.set(title="Draws of JEMClassifier", xlabel="class", ylabel="eight draws")
plt.show()
