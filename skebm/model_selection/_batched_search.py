"""A grid search, and fits to many tables, that train models together."""

from __future__ import annotations

import numpy as np
from joblib import parallel_config
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.parallel import Parallel, delayed

from skebm.model_selection._side_by_side import SideBySide
from skebm.utils import InvalidParameterError

#: Most fits in progress at a time, and about the bytes that their tables may take.
MAX_FITS, MAX_BYTES = 128, 2**31
#: Copies of its rows that a fit holds.
N_COPIES = 4


class BatchedSearchCV(GridSearchCV):
    """Grid search with cross-validation whose models are trained together.

    `GridSearchCV` with its parameters, attributes and results: each fit gives what it
    gives alone. What is saved is the cost of many small operations, and work that
    several fits share:

    - `BernoulliRBM`, with ``method`` "pcd" or "cd", dense rows without missing entries
      and on the CPU: all candidates and folds with the same ``n_components``,
      ``batch_size``, number of chains, ``n_gibbs_steps``, ``momentum``, ``centered``
      and number of rows are trained, and watched by ``early_stopping``, as one batched
      computation; by itself or as a step of a pipeline. Other options, such as
      ``learning_rate``, ``weight_decay`` and ``n_iter``, may differ.
    - Estimators of energies with a reference, such as `EBMDensityEstimator` and
      `JEMClassifier`: fits to one fold with the same ``random_state`` fit their
      reference once, where the options of the reference are the same. Nets are trained
      one by one.
    - Others are fitted one by one, in each process.

    Parameters
    ----------
    estimator : estimator
        The model whose parameters are searched.
    param_grid : dict or list of dict
        Names of parameters and lists of their values.
    scoring : str, callable, list, tuple or dict, default=None
        How rows left out are scored; None takes the estimator's ``score``.
    n_jobs : int, default=None
        Number of processes, in each of which a part of the candidates is trained
        together; None takes this process alone, with torch's threads.
    refit : bool, str or callable, default=True
        Whether the best candidate is fitted to all rows, and which is the best.
    cv : int, cross-validation generator or iterable, default=None
        The folds.
    verbose : int, default=0
        How much is printed. Lines of fits that are made together are mixed.
    pre_dispatch : int or str, default="2*n_jobs"
        Most fits that are begun before the first has ended; ``n_jobs`` here is as many
        as are trained together.
    error_score : "raise" or float, default=nan
        The score of a fit that fails.
    return_train_score : bool, default=False
        Whether rows of training are scored, too.

    Attributes
    ----------
    cv_results_ : dict of ndarray
        Parameters, scores and times of each candidate, by column. ``mean_fit_time``
        includes the time in which a fit waited for others.
    best_estimator_ : estimator
        The best candidate, fitted to all rows. Needs `refit`.
    best_score_ : float
        Its mean score on rows left out.
    best_params_ : dict
        Its parameters.
    best_index_ : int
        Its place in ``cv_results_``.
    scorer_ : callable or dict
        The scorers.
    n_splits_ : int
        Number of folds.
    refit_time_ : float
        Seconds of the last fit.
    multimetric_ : bool
        Whether there are several scorers.
    classes_ : ndarray of shape (n_classes,)
        Class labels, of classifiers.
    n_features_in_ : int
        Columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X had string names.

    See Also
    --------
    fit_many : Fits one estimator to many tables.

    Notes
    -----
    The fits that wait for each other hold their rows in memory: up to 128 at a time,
    fewer for large tables. An interrupt (Ctrl-C) ends, in their best state, all fits
    that are trained together at that moment.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skebm import BernoulliRBM
    >>> from skebm.model_selection import BatchedSearchCV
    >>> X = (load_digits().data[:200] > 7).astype(float)
    >>> rbm = BernoulliRBM(n_components=8, n_iter=3, random_state=0)
    >>> grid = {"learning_rate": [0.01, 0.1], "weight_decay": [0.0, 0.01]}
    >>> search = BatchedSearchCV(rbm, grid, cv=3).fit(X)
    >>> search.best_params_["learning_rate"]
    0.1
    """

    def __init__(
        self,
        estimator,
        param_grid,
        *,
        scoring=None,
        n_jobs=None,
        refit=True,
        cv=None,
        verbose=0,
        pre_dispatch="2*n_jobs",
        error_score=np.nan,
        return_train_score=False,
    ):
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )

    def fit(self, X, y=None, **params):
        """Fit all candidates to all folds.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), default=None
            Labels or numbers; None for a density.
        **params : dict
            Parameters of the estimator's ``fit``, such as ``sample_weight``, of the
            scorer and of the splitter.

        Returns
        -------
        self : BatchedSearchCV
        """
        with parallel_config(backend=SideBySide(_n_at_a_time(X), self.n_jobs)):
            return super().fit(X, y, **params)


def fit_many(estimator, X, y=None, *, n_jobs=None, **fit_params):
    """Fit an estimator to each of many tables, training the models together.

    Each is what ``clone(estimator).fit`` gives. Which fits compute together is told in
    `BatchedSearchCV`; tables of the same numbers of rows and columns do.

    Parameters
    ----------
    estimator : estimator
        The estimator; it stays as it is.
    X : list of array-like of shape (n_samples, n_features)
        The tables, such as one for each customer, sensor or class.
    y : list of array-like of shape (n_samples,), default=None
        The labels or numbers of each table.
    n_jobs : int, default=None
        Number of processes, in each of which a part of the tables is fitted; None
        takes this process alone.
    **fit_params : dict of list
        Further parameters of ``fit``, such as ``sample_weight``, one for each table.

    Returns
    -------
    estimators : list of estimator
        The fitted clones.

    Raises
    ------
    ValueError
        Where there are other numbers of y, or of a parameter, than of tables; and what
        a fit raises.

    See Also
    --------
    BatchedSearchCV : Fits many candidates to the folds of one table.

    Examples
    --------
    >>> import numpy as np
    >>> from skebm import BernoulliRBM
    >>> from skebm.model_selection import fit_many
    >>> rng = np.random.default_rng(0)
    >>> tables = [rng.integers(2, size=(50, 4)).astype(float) for _ in range(3)]
    >>> rbm = BernoulliRBM(n_components=2, n_iter=3, random_state=0)
    >>> [round(model.score(x), 1) for model, x in zip(fit_many(rbm, tables), tables)]
    [-2.8, -2.7, -2.8]
    """
    tables = list(X)
    given = {"y": y, **fit_params}
    columns = {
        k: [None] * len(tables) if v is None else list(v) for k, v in given.items()
    }
    for name, values in columns.items():
        if len(values) != len(tables):
            raise InvalidParameterError(
                f"The {name!r} parameter must be a list of one value for each of the "
                f"{len(tables)} tables in X. Got {len(values)}."
            )
    labels = columns.pop("y")
    size = _n_at_a_time(max(tables, key=_n_bytes, default=None))
    calls = (
        delayed(_fitted)(clone(estimator), table, labels[k], _row(columns, k))
        for k, table in enumerate(tables)
    )
    return Parallel(n_jobs=2, backend=SideBySide(size, n_jobs))(calls)


def _fitted(estimator, X, y, fit_params):
    return (
        estimator.fit(X, **fit_params)
        if y is None
        else estimator.fit(X, y, **fit_params)
    )


def _row(columns, k):
    """Return the k-th of each parameter; those that are None are not given."""
    return {
        name: values[k] for name, values in columns.items() if values[k] is not None
    }


def _n_at_a_time(X):
    """Return how many fits to tables like X may be in progress."""
    return int(np.clip(MAX_BYTES // (N_COPIES * max(1, _n_bytes(X))), 2, MAX_FITS))


def _n_bytes(X):
    """Return about the bytes that a table takes."""
    if sparse.issparse(X):
        return X.data.nbytes
    shape = np.shape(X) if not hasattr(X, "shape") else X.shape
    return 8 * int(np.prod(shape)) if X is not None else 0
