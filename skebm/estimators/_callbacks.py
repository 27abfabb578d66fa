"""The bridge from the training loop to scikit-learn's callbacks."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import _num_samples

from skebm.utils._sklearn import CallbackSupportMixin


class FitProgress:
    """Tells scikit-learn's callbacks of each epoch; nothing where there are none.

    Parameters
    ----------
    estimator : estimator
        What is fitted.
    max_iter : int
        Largest number of epochs.
    X, y : array-like
        What `fit` was given. Where y is None, the callbacks get zeros: scikit-learn's
        ScoringMonitor scores with a y only. Where X is None, they are told nothing.
    fitted_attributes : callable
        Returns the attributes that make a usable copy of the estimator as it is now.
        Called only if a callback asks for it: it copies the weights.
    """

    def __init__(self, estimator, max_iter, X, y, fitted_attributes):
        self.context = None
        self.fitted_attributes = fitted_attributes
        if X is None:
            return
        y = np.zeros(_num_samples(X)) if y is None else y
        self.task = {"estimator": estimator, "X": X, "y": y}
        if hasattr(CallbackSupportMixin, "_init_callback_context"):
            self.context = estimator._init_callback_context(max_subtasks=max_iter)
            self.context.call_on_fit_task_begin(**self.task)

    def on_epoch(self, epoch, entry):
        """Report an epoch; return True where a callback wants training to stop.

        Figures are in the ``history_`` of the fitted copy, since what is passed as
        metadata would go to scorers.
        """
        del epoch, entry
        if self.context is None:
            return False
        subcontext = self.context.subcontext("epoch")
        subcontext.call_on_fit_task_begin(**self.task)
        stop = subcontext.call_on_fit_task_end(
            **self.task,
            reconstruction_attributes=self.fitted_attributes,
        )
        return bool(stop)

    def end(self):
        """Report the end of `fit`."""
        if self.context is not None:
            self.context.call_on_fit_task_end(**self.task)
