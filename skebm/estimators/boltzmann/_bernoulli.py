"""The RBM of binary visible and hidden units."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from skebm.estimators.boltzmann._density import (
    OPTIONS_OF_FINITE_VALUES,
    WATCH_CONSTRAINTS,
    BaseRBM,
)
from skebm.estimators.boltzmann._visible import BinaryCodec
from skebm.models.boltzmann._fitted import FittedRBM
from skebm.utils._sklearn import StrOptions


class BernoulliRBM(BaseRBM):
    r"""Bernoulli restricted Boltzmann machine, with its likelihood.

    .. math:: p(v) = \frac1Z \sum_{h \in \{0, 1\}^m} e^{b \cdot v + c \cdot h + h^T W v}

    A drop-in for `sklearn.neural_network.BernoulliRBM` that divides each phase of the
    gradient by its own number of rows, scores by log p(v) instead of a stochastic
    pseudo-likelihood, trains in float32 whatever X's dtype, and makes one pass in
    batches of `batch_size` in each `partial_fit`.

    Parameters
    ----------
    n_components : int, default=256
        Number of hidden units, m.
    learning_rate : float, default=0.1
        The largest one; see `learning_rate_schedule`.
    batch_size : int, default=10
        Rows a step.
    n_iter : int, default=10
        Epochs of `fit`.
    verbose : int, default=0
        Whether to print a line an epoch.
    random_state : int, RandomState or None, default=None
        One int gives one result on one device. None is seeded by the system.
    method : {"pcd", "cd", "tempering", "pseudo_likelihood", "ratio_matching", \
            "minimum_probability_flow", "concrete_score_matching"}, default="pcd"
        Chains that persist from step to step, that start at data in each step, or that
        persist at ten temperatures and swap places. The others have no chains: they
        compare each row with all rows that differ from it in one column, which takes
        as many times longer as there are columns.
    n_gibbs_steps : int, default=1
        Steps of the chains at each step of training.
    n_chains : int, default=None
        Number of persistent chains; None takes `batch_size`.
    momentum : float, default=0.5
        Decay of the running sum of gradients that is followed.
    weight_decay : float or None, default=0.0
        Rate at which weights shrink, relative to the learning rate. None takes two over
        the number of rows seen, as a normal prior of W with variance 1/2 would.
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
        How log Z is estimated: "auto" sums over a layer of at most 20 units exactly,
        else takes `skebm.evaluation.RBMAnnealing`. None leaves scores unnormalised and
        saves the time.
    check_range : {"warn", "raise"}, default="warn"
        What to do about values outside of [0, 1]. The RBM computes on them as they
        are.
    contamination : float or "auto", default=0.05
        Share of new rows of the distribution that `predict` may call outliers; "auto"
        is Tukey's fence: 1.5 interquartile ranges below the lower quartile of the rows
        behind the threshold. May be changed after `fit`.
    device : str or torch.device, default="auto"
        "auto" takes CUDA where it is there.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        W.
    intercept_hidden_ : ndarray of shape (n_components,)
        c.
    intercept_visible_ : ndarray of shape (n_features,)
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
        Pseudo-likelihood (a stochastic estimate on the last batch), learning rate and
        rollbacks so far, one entry an epoch.
    n_iter_ : int
        Epochs of the last fit.
    n_features_in_ : int
        Columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X had string names.

    Notes
    -----
    For grey values in (0, 1), taken as probabilities in training, the score is
    -F(v) - log Z: no density of such values, though it orders them.

    References
    ----------
    G. E. Hinton, S. Osindero and Y.-W. Teh, "A fast learning algorithm for deep belief
    nets", Neural Computation 18 (2006). T. Tieleman, "Training restricted Boltzmann
    machines using approximations to the likelihood gradient", ICML 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from skebm import BernoulliRBM
    >>> X = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    >>> model = BernoulliRBM(n_components=2, random_state=0).fit(X)
    >>> model.transform(X).shape
    (4, 2)
    >>> states = [[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    >>> round(float(np.exp(model.score_samples(states)).sum()), 6)
    1.0
    """

    _parameter_constraints = {  # noqa: RUF012
        **BaseRBM._parameter_constraints,
        **WATCH_CONSTRAINTS,
        **OPTIONS_OF_FINITE_VALUES,
        "check_range": [StrOptions({"warn", "raise"})],
    }

    _codec_type = BinaryCodec
    _stored_types: ClassVar[dict] = {"_fitted": FittedRBM, "_codec": BinaryCodec}

    def __init__(
        self,
        n_components=256,
        *,
        learning_rate=0.1,
        batch_size=10,
        n_iter=10,
        verbose=0,
        random_state=None,
        method="pcd",
        n_gibbs_steps=1,
        n_chains=None,
        momentum=0.5,
        weight_decay=0.0,
        centered=True,
        learning_rate_schedule="linear",
        weight_averaging=0.99,
        early_stopping="auto",
        validation_fraction=0.1,
        reference=None,
        normalizer="auto",
        check_range="warn",
        contamination=0.05,
        device="auto",
    ):
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
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
        self.check_range = check_range
        self.contamination = contamination
        self.device = device

    def gibbs(self, v):
        """Make one Gibbs step: hidden units given v, then visible ones given those.

        Parameters
        ----------
        v : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to start from.

        Returns
        -------
        v_new : ndarray of bool of shape (n_samples, n_features)
            Draws; each call goes on with the random numbers.
        """
        return self._gibbs(v).astype(bool)

    def pseudo_likelihood(self, X):
        r"""Log pseudo-likelihood of each row, in nats, over all columns.

        .. math:: \sum_i \log p(v_i \mid v_{-i})

        What scikit-learn's `score_samples` estimates from one random column a row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Binary rows.

        Returns
        -------
        pseudo_likelihood : ndarray of shape (n_samples,)
            float64; deterministic.
        """
        check_is_fitted(self)
        return self._fitted.pseudo_likelihood(self._codec.read(self, X))

    def _mean_hiddens(self, v):
        """Return P(h = 1 | v), as scikit-learn's method of this name."""
        v = v if sparse.issparse(v) else np.asarray(v)
        if v.ndim == 1:
            return self._mean_hiddens(v[None])[0]
        return self._fitted.mean_hidden(v)

    def _sample_hiddens(self, v, rng):
        """Draw hidden units by NumPy's random numbers, as scikit-learn's method."""
        probability = self._mean_hiddens(v)
        return rng.uniform(size=probability.shape) < probability

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
