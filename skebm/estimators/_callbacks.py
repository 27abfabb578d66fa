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
        The estimator that is being fitted.
    read : Read
        The table as it was read: a copy in mid-fit has its columns.
    max_iter : int
        Largest number of epochs.
    X, y : array-like
        The arguments of `fit`. Where y is None, the callbacks get zeros: scikit-learn's
        ScoringMonitor scores with a y only.
    attributes : dict
        Attributes that make a copy of the estimator usable, beside its fitted model.
    """

    def __init__(self, estimator, read, max_iter, X, y, attributes):
        self.context = None
        self.attributes, self.read = attributes, read
        y = np.zeros(_num_samples(X)) if y is None else y
        self.task = {"estimator": estimator, "X": X, "y": y}
        if hasattr(CallbackSupportMixin, "_init_callback_context"):
            self.context = estimator._init_callback_context(max_subtasks=max_iter)
            self.context.call_on_fit_task_begin(**self.task)

    @property
    def on_epoch(self):
        """The function that reports an epoch; None where there are no callbacks.

        It takes a function that returns the fitted model as it is then, and one that
        returns further attributes of a copy of the estimator, {} by default. They are
        called only if a callback asks for a copy. It returns True where one wants to
        stop.
        Metrics are in the ``history_`` of the fitted copy, since what is passed as
        metadata would go to scorers.
        """
        return None if self.context is None else self._report

    def _report(self, model, learnt=dict):
        subcontext = self.context.subcontext("epoch")
        subcontext.call_on_fit_task_begin(**self.task)
        stop = subcontext.call_on_fit_task_end(
            **self.task,
            reconstruction_attributes=lambda: self._attributes(model(), learnt()),
        )
        return bool(stop)

    def _attributes(self, fitted, learnt):
        """Return what makes a copy of the estimator usable in the middle of a fit."""
        columns = {"feature_names_in_": None} | self.read.columns()
        return {**columns, **self.attributes, **learnt, "_fitted": fitted}

    def end(self):
        """Report the end of `fit`."""
        if self.context is not None:
            self.context.call_on_fit_task_end(**self.task)
