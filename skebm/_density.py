"""The density estimator."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from skebm._base import (
    MAX_HELD_OUT,
    BaseEBM,
    check_n_samples,
    private_random_state,
    trains,
)
from skebm._coarser import CoarserReferenceMixin
from skebm._codes import CategoricalColumnsMixin
from skebm._conditionals import ConditionalsMixin
from skebm._gaps import IncompleteRowsMixin, keep_observed
from skebm._table import keep_weighted
from skebm.exceptions import DivergenceError, NormalizerWarning
from skebm.utils._sklearn import StrOptions, with_callbacks

#: In nats: noise of training and of log Z stays well above.
MIN_GAIN = -1.0


class EBMDensityEstimator(
    CategoricalColumnsMixin,
    ConditionalsMixin,
    CoarserReferenceMixin,
    IncompleteRowsMixin,
    DensityMixin,
    BaseEBM,
):
    r"""Density of a table by an energy-based model.

    .. math:: p(x) = q_0(x) e^{-E(x)} / Z, \qquad Z = E_{q_0}[e^{-E(x)}]

    A neural net E tilts a reference density :math:`q_0` fitted to the rows. Columns
    are standardised inside; scores are in the units of X.

    Parameters
    ----------
    objective : str or Objective, default="stratified_nce"
        What is minimised: a name of `skebm.objectives.OBJECTIVES` or an instance.
    network : str, class or builder, default="auto"
        "auto" is the one of the objective's `skebm.objectives.Recipe`, as are other
        options that say so: "column_mlp" for `skebm.objectives.NCE`, else "wave_mlp".
        Also "column_mlp", "wave_mlp", "periodic_mlp", "fourier_mlp", "mlp", "resmlp";
        "ppca", "mixture", "nice", which are normalised by themselves; or
        ``(n_features, n_outputs) -> nn.Module``; here n_outputs is 1. See
        `skebm.networks`.
    reference : {"auto", "copula", "gmm", "gaussian", "kde", "flow", None}, Reference \
            or estimator, default="auto"
        :math:`q_0`: a Gaussian mixture stacked with one of columns made normal by
        monotone maps, where that gains on held-out rows; the mixture alone; one
        Gaussian; kernels about the rows; a neural spline flow (needs zuko); or None: a
        uniform box, the training range widened by a fifth on each side (-inf outside);
        or scikit-learn's `GaussianMixture` or `KernelDensity`, taken as it is where it
        is fitted, in the units of X. "auto" is the recipe's: "copula" for NCE, else
        "gmm". In up to four columns, where tilting these gains next to nothing, a
        coarser mixture is tilted as well, and stays where it is better. With a
        normalised network it changes no score: chains and noise start there, and None
        is one Gaussian.
    normalizer : {"auto", "importance", "ais", None} or instance, default="auto"
        Estimator of log Z; None leaves scores unnormalised. Of a normalised network
        log Z is 0, whatever is given here.
    categorical_features : "from_dtype", None or array-like, default="from_dtype"
        Columns of categories, of which the density is a probability: "from_dtype" takes
        those of a data frame that are pandas categories, booleans or words; None takes
        none; else a mask, numbers or names of columns.
    atoms : {"auto", None}, default=None
        Values of columns of numbers that have a probability of their own, beside the
        density of the others: "auto" takes those of at least a tenth of the rows that
        are five times as frequent as any other, as the zeros of a zero-inflated column.
    max_iter : int or "auto", default="auto"
        Epochs; "auto" takes as many as make the recipe's steps: 3000 for NCE, else
        4000.
    batch_size : int, default=100
        Rows a step.
    batch_growth : float, default=1.0
        The last epoch's batch size as a multiple of the first one's.
    learning_rate : float or "auto", default="auto"
        Adam's rate after warm-up; it decays along a cosine. "auto" is the recipe's:
        3e-3 for NCE, else 1e-3.
    gradient_clip : float or None, default=None
        Largest norm of the gradient of a net.
    weight_averaging : float, default=0.99
        Decay of the exponential average of the weights that is used in the end, an
        update every four steps; 0 uses the last weights.
    early_stopping : bool, default=True
        Hold out rows and keep the state of the best held-out log-likelihood, the
        untrained one (the bare reference) included; see
        `skebm.training.DensityMonitor`.
    validation_fraction : float, default=0.1
        Share of the rows held out, at most 10 000 rows.
    n_iter_no_change : int or "auto", default="auto"
        Epochs without improvement after which training stops. "auto" is the recipe's:
        20 for NCE, else 50.
    tol : float, default=0.0
        Least improvement that counts, in nats.
    contamination : float or "auto", default=0.05
        Share of in-distribution rows that `predict` may call outliers. "auto" is
        Tukey's fence: an outlier scores more than 1.5 interquartile ranges below the
        lower quartile of the held-out rows. May be changed after `fit`.
    ood_score : str, default="combined"
        What `ood_scores` returns: "log_density", "negative_energy", "typicality" or
        "gradient_norm", between which one may change after `fit`; "mixture_density",
        "blurred_density", "noise_contrast" or "combined" (of the first and the third),
        which `fit` learns where they are chosen, with some seconds of training. See
        `skebm.evaluation.OOD_SCORES`.
    warm_start : bool, default=False
        Whether `fit` goes on from the last fit's state: with the same columns,
        network, objective and reference.
    device : str or torch.device, default="auto"
        "auto" takes CUDA where it is there.
    random_state : int, RandomState or None, default=None
        One int gives one result on one device. None is seeded by the system.
    verbose : int, default=0
        Print a line every ``verbose`` epochs, one after the reference is fitted and one
        with log Z.

    Attributes
    ----------
    network_ : nn.Module
        The trained net.
    reference_ : skebm.references.Density
        The fitted reference, in standardised units.
    objective_ : Objective
        The objective trained by.
    log_normalizer_, log_normalizer_se_ : float or None
        log Z and its standard error, in nats. NaN after `partial_fit`, until the next
        scoring.
    normalizer_result_ : skebm.evaluation.LogNormalizer or None
        The whole result, with the effective sample size.
    offset_ : float
        Threshold of `predict` on `ood_scores`, by held-out rows (else training rows),
        for each ``contamination`` and ``ood_score``.
    history_ : dict of str to list
        Losses and held-out scores, one entry an epoch.
    n_iter_ : int
        Epochs of the last fit.
    is_categorical_ : ndarray of bool of shape (n_features_in_,), or None
        Which columns are categories; None where none is.
    best_epoch_ : int
        The epoch whose state was kept. 0: on held-out rows no tilt was better than the
        bare reference, which then is the model.
    n_features_in_ : int
        Columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X had string names.

    Raises
    ------
    skebm.exceptions.DivergenceError
        By `fit`, where training can't be brought back from a divergence.

    See Also
    --------
    JEMClassifier : Classes and a density in one net.

    References
    ----------
    Gutmann, Hyvarinen. Noise-contrastive estimation of unnormalized statistical models,
    with applications to natural image statistics. JMLR 13, 2012.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = EBMDensityEstimator(max_iter=10, random_state=0).fit(X)
    >>> model.score_samples(X).shape
    (150,)
    >>> model.sample(3, random_state=0).shape
    (3, 4)
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseEBM._parameter_constraints,
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "atoms": [StrOptions({"auto"}), None],
        **{
            name: [*BaseEBM._parameter_constraints[name], StrOptions({"auto"})]
            for name in ("learning_rate", "n_iter_no_change")
        },
    }

    def __init__(
        self,
        objective="stratified_nce",
        network="auto",
        reference="auto",
        normalizer="auto",
        *,
        categorical_features="from_dtype",
        atoms=None,
        max_iter="auto",
        batch_size=100,
        batch_growth=1.0,
        learning_rate="auto",
        gradient_clip=None,
        weight_averaging=0.99,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change="auto",
        tol=0.0,
        contamination=0.05,
        ood_score="combined",
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.objective = objective
        self.network = network
        self.reference = reference
        self.normalizer = normalizer
        self.categorical_features = categorical_features
        self.atoms = atoms
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.batch_growth = batch_growth
        self.learning_rate = learning_rate
        self.gradient_clip = gradient_clip
        self.weight_averaging = weight_averaging
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.contamination = contamination
        self.ood_score = ood_score
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @trains
    @with_callbacks
    def fit(self, X, y=None, sample_weight=None):
        """Fit the density to the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing: then the likelihood of the others is
            what is climbed, by stochastic EM. Rows of NaN alone are left out.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : EBMDensityEstimator
        """
        del y
        self._validate_params()
        going_on = self.warm_start and self._is_trained
        table, weight = self._read_rows(X, sample_weight, not going_on, 2)
        self._fit(table, None, weight, n_outputs=1, raw=(X, None))
        self._check_gain(table[:MAX_HELD_OUT])
        return self

    def _read_rows(self, X, sample_weight, reset, min_rows):
        """Return the rows that count, and their weights or None."""
        X = self._read_table(X, reset=reset, min_rows=min_rows, allow_nan=True)
        X, _, weight = keep_weighted(X, None, sample_weight, min_rows)
        names = getattr(self, "feature_names_in_", None)
        return keep_observed(X, weight, names, min_rows)

    def _check_gain(self, X):
        """Raise DivergenceError where q0 alone is better by far than what was learnt.

        A held-out share would have kept a better state; without one nothing else does.
        """
        model = self._make_model()
        if self.log_normalizer_ is None or model.is_normalized:
            return
        Z = self._filled(self._standardizer.transform(X), self._run_seed)
        energy = self._on_standardized(lambda Z: model.energy(Z).double(), Z)
        gain = -energy.mean() - self.log_normalizer_
        if gain < MIN_GAIN:
            raise DivergenceError(
                f"Training ended, in epoch {self.n_iter_}, with a model that gives its "
                f"own rows {-gain:.3g} nats less than the untrained reference does. "
                "Lower learning_rate="
                f"{self._option('learning_rate', self.objective_)}, or set "
                "early_stopping=True."
            )

    @trains
    def partial_fit(self, X, y=None, sample_weight=None):
        """Make one pass over the rows of X, at a constant learning rate.

        The first call also fits scaling and reference, so its rows must be typical.
        log Z and the threshold are computed anew at the next scoring; until then the
        estimator, and a pickle of it, holds rows for that, at most 10 000.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self : EBMDensityEstimator
        """
        del y
        self._validate_params()
        min_rows = 1 if self._is_trained else 2
        reset = not self._is_trained
        X, weight = self._read_rows(X, sample_weight, reset, min_rows)
        return self._partial_fit(X, None, weight, n_outputs=1)

    def score(self, X, y=None):
        """Mean log density of the rows of X, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        score : float
            Unnormalised, with a `NormalizerWarning`, where ``normalizer=None``.
        """
        del y
        scores = self.score_samples(X)
        if self.log_normalizer_ is None:
            warnings.warn(
                "normalizer=None: the score leaves out log Z and does not compare with"
                " that of another model.",
                NormalizerWarning,
                stacklevel=2,
            )
        return float(scores.mean())

    def decision_function(self, X):
        """Return `ood_scores` less `offset_`: negative for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
        """
        scores = self.ood_scores(X)
        return scores - self.offset_

    def predict(self, X):
        """Tell rows in distribution (+1) from outliers (-1).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing.

        Returns
        -------
        inlier : ndarray of int of shape (n_samples,)
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def sample(self, n_samples=1, random_state=None, *, given=None):
        """Draw rows from the model's density, or from p(missing | given).

        By sequential Monte Carlo from the reference, with importance weights and moves
        of chains (`skebm.evaluation.annealed_samples`): draws follow p(x), not the
        generator that trained it. A normalised network draws by itself, exactly.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows; with `given`, for each of its rows.
        random_state : int, RandomState or None, default=None
            None is seeded by the system, so that two calls differ.
        given : array-like of shape (n_given, n_features), default=None
            Rows whose columns are held; NaN where a column is to be drawn. See
            `impute`; a warning says where draws can't be trusted.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features) or (n_given * n_samples, ...)
            In the units of the X of `fit`; those of the first given row come first.
        """
        check_is_fitted(self, "network_")
        check_n_samples(n_samples)
        rng = private_random_state(random_state)
        if given is not None:
            given = self._check_given(given)
        return self._write_table(self._draw(n_samples, rng, given))

    @property
    def _n_auto_steps(self):
        return self.objective_.recipe.n_steps

    def _training_objective(self):
        return self.objective_

    def _split_rows(self, codes, n_rows, rng):
        n_held_out = min(MAX_HELD_OUT, round(self.validation_fraction * n_rows))
        if not self.early_stopping or min(n_held_out, n_rows - n_held_out) < 1:
            return torch.arange(n_rows), None
        order = torch.from_numpy(rng.permutation(n_rows))
        return order[n_held_out:], order[:n_held_out]

    def _make_monitor(self, Z, codes, weight, held_out, noise_scale, seed):
        return self._density_monitor(Z, weight, held_out, noise_scale, seed)
