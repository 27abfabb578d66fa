"""The RBM of real visible and binary hidden units."""

from __future__ import annotations

from typing import ClassVar

from skebm.estimators.boltzmann._density import WATCH_CONSTRAINTS, BaseRBM
from skebm.estimators.boltzmann._visible import RealCodec
from skebm.models.boltzmann._fitted import FittedRBM
from skebm.utils._sklearn import StrOptions


class GaussianRBM(BaseRBM):
    r"""Gaussian-Bernoulli restricted Boltzmann machine, a density of real columns.

    .. math:: p(v, h) \propto N(v; 0, \Sigma) \, e^{b \cdot s + c \cdot h + h^T W s},
        \qquad s = D^{-1} V^T v, \qquad \Sigma = V D^2 V^T

    so that p(v | h) = N(V D (b + h W), Sigma), and p(v) is a mixture of 2^m Gaussians
    with a common covariance; P(h = 1 | v) = sigma(c + W s). The columns v are
    standardised inside, V are their principal axes, and training starts near the
    Gaussian of full covariance.

    Parameters
    ----------
    n_components : int, default=16
        Number of hidden units, m. log Z is exact up to 20.
    learning_rate : float, default=0.05
        Largest learning rate; see `learning_rate_schedule`.
    batch_size : int, default=25
        Rows a step.
    n_iter : int, default=200
        Epochs of `fit`.
    verbose : int, default=0
        Whether to print a line an epoch.
    random_state : int, RandomState or None, default=None
        One int gives one result on one device. None is seeded by the system.
    whiten : bool, default=True
        Whether V are the principal axes. False takes the columns themselves: given h
        they are then independent.
    variance : {"learned", "fixed"}, default="learned"
        Whether the scales D are learnt, or stay the standard deviations of the data.
    sentinels : {"warn", "missing"}, default="warn"
        How to treat a sentinel: a value such as -9999 that repeats (in 1 % of the rows,
        and in at least 5) and is more than 20 interquartile ranges away from the others
        of its column. "missing" takes it as a missing entry. "warn" names it in a
        warning, and takes it as a number.
    method : {"pcd", "cd", "tempering"}, default="tempering"
        Chains that persist from step to step, that start at data in each step, or that
        persist at five temperatures and swap places, and so move between clusters.
    n_gibbs_steps : int, default=1
        Steps of the chains at each step of training.
    n_chains : int, default=100
        Number of persistent chains; None takes `batch_size`.
    momentum : float, default=0.7
        Decay of the running sum of gradients that is followed.
    weight_decay : float, default=None
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
        Whether the likelihood is watched along `fit`, an earlier epoch kept where it
        fell since, and the one Gaussian of the rows kept where the RBM is no better:
        on training rows and, where few rows leave it in doubt, on folds of them that
        are left out of fits of their own. True holds rows out instead, except in a
        table with missing entries: there it does what "auto" does. Hidden units beside
        a Gaussian that is kept are nearly linear in the columns. A warning tells,
        unless training was merely too short (below 200 steps).
    validation_fraction : float, default=0.1
        Share of the rows that is held out; not used where entries are missing.
    normalizer : {"auto", "exact", "ais", None} or instance, default="auto"
        How log Z is estimated: "auto" sums over at most 20 hidden units exactly, else
        takes `skebm.evaluation.RBMAnnealing`. None leaves scores unnormalised.
    contamination : float or "auto", default=0.05
        Share of new rows of the distribution that `predict` may call outliers; "auto"
        is Tukey's fence: 1.5 interquartile ranges below the lower quartile of the rows
        behind the threshold. May be changed after `fit`.
    device : str or torch.device, default="auto"
        "auto" takes CUDA where it is there.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        W, an axis a column.
    intercept_hidden_ : ndarray of shape (n_components,)
        c.
    intercept_visible_ : ndarray of shape (n_features,)
        b.
    covariance_ : ndarray of shape (n_features, n_features)
        Sigma, of v given h, in units of X.
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
    `score_samples` is a log density in the units of X. No variance falls below a
    thousandth of a column's, or the width of two steps of its grid, so that no density
    is infinite where values repeat.

    `partial_fit` standardises by the rows of its first call. The values that draws can
    have (whole numbers, bounds) are those of the rows of all calls.

    References
    ----------
    K. Cho, A. Ilin and T. Raiko, "Improved learning of Gaussian-Bernoulli restricted
    Boltzmann machines", ICANN 2011. J. Melchior, N. Wang and L. Wiskott,
    "Gaussian-binary restricted Boltzmann machines for modeling natural image
    statistics", PLoS ONE 12 (2017). R. Liao, S. Kornblith, M. Ren, D. J. Fleet and G.
    Hinton, "Gaussian-Bernoulli RBMs without tears", arXiv 2210.10318 (2022).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skebm import GaussianRBM
    >>> X = load_iris().data
    >>> model = GaussianRBM(4, n_iter=50, random_state=0).fit(X)
    >>> model.score(X) > -2.6  # one Gaussian has -2.53
    True
    >>> model.sample(3, random_state=0).shape
    (3, 4)
    """

    _parameter_constraints = {  # noqa: RUF012
        **BaseRBM._parameter_constraints,
        **WATCH_CONSTRAINTS,
        "whiten": ["boolean"],
        "variance": [StrOptions({"learned", "fixed"})],
        "sentinels": [StrOptions({"warn", "missing"})],
    }

    _codec_type = RealCodec
    _stored_types: ClassVar[dict] = {"_fitted": FittedRBM, "_codec": RealCodec}

    def __init__(
        self,
        n_components=16,
        *,
        learning_rate=0.05,
        batch_size=25,
        n_iter=200,
        verbose=0,
        random_state=None,
        whiten=True,
        variance="learned",
        sentinels="warn",
        method="tempering",
        n_gibbs_steps=1,
        n_chains=100,
        momentum=0.7,
        weight_decay=None,
        centered=True,
        learning_rate_schedule="linear",
        weight_averaging=0.99,
        early_stopping="auto",
        validation_fraction=0.1,
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
        self.whiten = whiten
        self.variance = variance
        self.sentinels = sentinels
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
        self.normalizer = normalizer
        self.contamination = contamination
        self.device = device

    @property
    def covariance_(self):
        """Sigma, of v given h, in units of X."""
        self._require_fitted()
        scale = self._codec.encoder.scale
        return scale[:, None] * self._fitted.units.covariance().numpy() * scale

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
