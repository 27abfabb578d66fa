"""The RBM of categorical visible and binary hidden units."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from skebm.estimators.boltzmann._density import (
    OPTIONS_OF_FINITE_VALUES,
    WATCH_CONSTRAINTS,
    BaseRBM,
)
from skebm.estimators.boltzmann._visible import CategoricalCodec
from skebm.models.boltzmann._fitted import FittedRBM
from skebm.utils._sklearn import StrOptions


class SoftmaxRBM(BaseRBM):
    r"""Restricted Boltzmann machine of categorical columns.

    .. math:: p(v) = \frac1Z \sum_{h \in \{0, 1\}^m} e^{b \cdot v + c \cdot h + h^T W v}

    where v has a one-hot block for each column of X, so that given h the columns are
    independent, each a softmax of its block of b + h W.

    Parameters
    ----------
    n_components : int, default=64
        Number of hidden units, m.
    learning_rate : float, default=0.1
        Largest learning rate; see `learning_rate_schedule`.
    batch_size : int, default=25
        Rows a step.
    n_iter : int, default=50
        Epochs of `fit`.
    verbose : int, default=0
        Whether to print a line an epoch.
    random_state : int, RandomState or None, default=None
        One int gives one result on one device. None is seeded by the system.
    categories : "auto" or list of array-like, default="auto"
        The categories of each column. "auto" takes those of pandas ``category`` columns
        and the sorted values in `fit` of others: ints, strings, bools, floats.
    handle_unknown : {"error", "missing"}, default="error"
        A value that is no category raises `ValueError`, or counts as missing and is
        summed out.
    method : {"pcd", "cd", "tempering", "pseudo_likelihood", "ratio_matching", \
            "minimum_probability_flow", "concrete_score_matching"}, default="pcd"
        Chains that persist from step to step, that start at data in each step, or that
        persist at ten temperatures and swap places. The others have no chains: they
        compare each row with all rows that differ from it in one column, which takes
        as many times longer as there are columns.
    n_gibbs_steps : int, default=1
        Steps of the chains at each step of training.
    n_chains : int, default=100
        Number of persistent chains; None takes `batch_size`.
    momentum : float, default=0.7
        Decay of the running sum of gradients that is followed.
    weight_decay : float, default=0.0
        Rate at which weights shrink, relative to the learning rate.
    centered : bool, default=True
        Whether to take the gradient in centred units.
    learning_rate_schedule : {"constant", "linear"}, default="linear"
        The learning rate of `fit` is the same in all steps, or rises from 0 during the
        first tenth of them and falls to 0 in the second half.
    weight_averaging : float, default=0.99
        Decay, once in ten steps, of the average of the parameters that is used in the
        end; 0 uses the last ones.
    early_stopping : {"auto", True, False}, default="auto"
        Whether `fit` watches the likelihood. If it falls, an earlier epoch is kept; if
        no epoch is better than independent columns, these are kept. Both come with a
        warning. True watches held-out rows. "auto" holds rows out if there are at least
        100, but fewer than four a column; otherwise it watches training rows. In a
        table with missing entries no rows are held out, whatever is asked for; training
        rows are watched, as training completes them. Fits that see fewer than 1000 rows
        in all their epochs are not judged.
    validation_fraction : float, default=0.1
        Share of the rows that is held out; not used where entries are missing.
    reference : {None, "chow_liu"} or ChowLiuReference, default=None
        What the RBM tilts, :math:`p(v) = q_0(v) e^{-E(v)} / Z`: a tree of the columns
        that depend on each other most, or a mixture of such trees. Where columns
        determine each other it is far better than independent columns, which None
        begins from, and an RBM that gains nothing is the reference itself. Steps take
        several times longer.
    normalizer : {"auto", "exact", "ais", None} or instance, default="auto"
        How log Z is estimated: "auto" sums over a layer of at most 2^20 states exactly,
        else takes `skebm.evaluation.RBMAnnealing`. None leaves scores unnormalised.
    contamination : float or "auto", default=0.05
        Share of new rows of the distribution that `predict` may call outliers; "auto"
        is Tukey's fence: 1.5 interquartile ranges below the lower quartile of the rows
        behind the threshold. May be changed after `fit`.
    device : str or torch.device, default="auto"
        "auto" takes CUDA where it is there.

    Attributes
    ----------
    categories_ : list of ndarray
        The categories of each column.
    components_ : ndarray of shape (n_components, n_categories)
        W; n_categories is the sum over columns.
    intercept_hidden_ : ndarray of shape (n_components,)
        c.
    intercept_visible_ : ndarray of shape (n_categories,)
        b.
    h_samples_ : ndarray of shape (n_chains, n_components)
        Hidden states of the persistent chains.
    log_normalizer_, log_normalizer_se_ : float or None
        log Z and its standard error, in nats, estimated at the first question.
    normalizer_result_ : skebm.evaluation.LogNormalizer or None
        The whole result, with the reverse estimate of annealing.
    offset_ : float
        Threshold of `predict` on `score_samples`, by training rows that are scored as
        if left out.
    n_calibration_ : int
        Rows that `p_values` compares with, where none are given.
    history_ : dict of str to list
        Mean of -F over the last batch, learning rate and rollbacks so far, one entry
        an epoch.
    n_iter_ : int
        Epochs of the last fit.
    n_features_in_ : int
        Columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X had string names.

    Notes
    -----
    Missing entries (NaN, None, pd.NA) are marginalised; `impute` fills in their
    likeliest categories. `sample`, `gibbs` and `impute` return a data frame after a fit
    on one with string names, else an array. Later calls of `partial_fit` bring no new
    categories.

    References
    ----------
    R. Salakhutdinov, A. Mnih and G. Hinton, "Restricted Boltzmann machines for
    collaborative filtering", ICML 2007.

    Examples
    --------
    >>> import pandas as pd
    >>> from skebm import SoftmaxRBM
    >>> sky, road = ["sun", "rain", "rain", "sun"], ["dry", "wet", "wet", "dry"]
    >>> X = pd.DataFrame({"sky": sky * 25, "road": road * 25})
    >>> model = SoftmaxRBM(2, random_state=0).fit(X)
    >>> model.impute(pd.DataFrame({"sky": ["rain"], "road": [None]}))
        sky road
    0  rain  wet
    """

    _parameter_constraints = {  # noqa: RUF012
        **BaseRBM._parameter_constraints,
        **WATCH_CONSTRAINTS,
        **OPTIONS_OF_FINITE_VALUES,
        "categories": [StrOptions({"auto"}), list],
        "handle_unknown": [StrOptions({"error", "missing"})],
    }

    _codec_type = CategoricalCodec
    _stored_types: ClassVar[dict] = {"_fitted": FittedRBM, "_codec": CategoricalCodec}

    def __init__(
        self,
        n_components=64,
        *,
        learning_rate=0.1,
        batch_size=25,
        n_iter=50,
        verbose=0,
        random_state=None,
        categories="auto",
        handle_unknown="error",
        method="pcd",
        n_gibbs_steps=1,
        n_chains=100,
        momentum=0.7,
        weight_decay=0.0,
        centered=True,
        learning_rate_schedule="linear",
        weight_averaging=0.99,
        early_stopping="auto",
        validation_fraction=0.1,
        reference=None,
        normalizer="auto",
        contamination=0.05,
        device="auto",
    ):
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.categories = categories
        self.handle_unknown = handle_unknown
        self.method = method
        self.n_gibbs_steps = n_gibbs_steps
        self.n_chains = n_chains
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.centered = centered
        self.learning_rate_schedule = learning_rate_schedule
        self.weight_averaging = weight_averaging
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.reference = reference
        self.normalizer = normalizer
        self.contamination = contamination
        self.device = device

    @property
    def categories_(self):
        """The categories of each column."""
        self._require_fitted()
        return [np.asarray(values) for values in self._codec.table.values]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags
