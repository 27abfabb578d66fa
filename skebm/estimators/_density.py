"""The density estimator."""

from __future__ import annotations

from numbers import Real
from os import PathLike
from typing import ClassVar

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skebm.estimators._base import BaseEBM, with_gradients
from skebm.estimators._checkpoint import fresh_start, start_of
from skebm.estimators._density_methods import DensityMethods
from skebm.estimators._encoding import fit_encoder
from skebm.estimators._input import (
    chains_of,
    check_n_samples,
    keep_observed,
    private_random_state,
    rows_at_hand,
)
from skebm.estimators._trimmed import keep_rows, learnt_of
from skebm.models import (
    Specification,
    Task,
    TrainingRows,
    check_goes_on,
    fit,
    fit_pass,
    go_on,
    go_on_pass,
    keep_all,
    split_at_random,
)
from skebm.utils._sklearn import Interval, StrOptions, with_callbacks


class EBMDensityEstimator(
    DensityMethods, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEBM
):
    r"""Density of a table by an energy-based model.

    .. math:: p(x) = q_0(x) e^{-E(x)} / Z, \qquad Z = E_{q_0}[e^{-E(x)}]

    A neural net E tilts a reference density :math:`q_0` fitted to the rows. Columns
    are standardised inside; scores are in the units of X.

    Parameters
    ----------
    objective : str or Objective, default="stratified_nce"
        Loss that is minimised: a name of `skebm.objectives.OBJECTIVES` or an instance.
    network : str, class or builder, default="auto"
        "auto" is the one of the objective's `skebm.objectives.Recipe`, as are other
        options that say so: "column_mlp" for `skebm.objectives.NCE`, else "wave_mlp".
        Also "column_mlp", "wave_mlp", "periodic_mlp", "fourier_mlp", "mlp", "resmlp";
        "trees", grown by NCE; "conv", "resnet", "multi_scale", for images; "ppca",
        "mixture", "nice", which are normalised by themselves; or ``(n_features,
        n_outputs) -> nn.Module``; here n_outputs is 1. See `skebm.networks`.
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
    image_shape : tuple of int or None, default=None
        (channels, height, width) of images whose pixels the columns are. Without it a
        network for images takes square grey ones, and a warning says so.
    categorical_features : "from_dtype", None, array-like or dict, default="from_dtype"
        Which columns hold categories; these have probabilities, not densities.
        "from_dtype" takes the columns of a data frame that are categories, booleans or
        words; None none; otherwise give a mask, numbers or names of columns, or a dict
        of these to "nominal", "ordinal" or "cyclic". A `skebm.exceptions.DataWarning`
        names a column in which almost every row has a category of its own.
    atoms : {"auto", None}, default=None
        Which values of a column of numbers get a probability of their own, while the
        other values have a density. "auto" takes a value that at least a tenth of the
        rows have, if it is five times as frequent as any other value: for example the
        zeros of a zero-inflated column.
    sentinels : {"warn", "atom", "missing"}, default="warn"
        How to treat a sentinel: a value such as -9999 that repeats (in 1 % of the rows,
        and in at least 5) and is more than 20 interquartile ranges away from the others
        of its column. "atom" gives it a probability of its own, "missing" takes it as a
        missing entry. "warn" names it in a warning, and treats it as ``atoms`` says.
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
    trim_fraction : float, default=0.0
        Share of the rows of `fit`, up to a half, that is left out because they look
        most like outliers; see ``is_trimmed_``. Set it to the share of outliers that
        you expect among them, and to 0 if the rows are clean. Distances to neighbours
        pass over half as many nearest rows. Thresholds and p-values count all rows.
        `partial_fit` trims no rows.
    contamination : float or "auto", default=0.05
        Share of new rows, like those of `fit`, that `predict` calls outliers: that of
        false alarms if `fit` sees no outliers, else about that of outliers. "auto" is
        Tukey's fence: an outlier scores more than 1.5 interquartile ranges below the
        lower quartile of the held-out rows. May be changed after `fit`.
    ood_score : str, default="auto"
        Kind of `ood_scores`. "auto" is a mean of "mixture_density", "nearest_neighbor",
        "ranked_neighbors", "local_density" and "tails", weighed by how well each tells
        rows from rows made wrong on purpose: see ``ood_report_``. These five,
        "blurred_density", "noise_contrast" and "combined" (the mean of
        "mixture_density" and the last) are learnt where they are chosen. One may change
        between "log_density", "negative_energy", "typicality" and "gradient_norm" after
        `fit`. Distances, so "auto" too, keep up to 5000 rows. See `OOD_SCORES`.
    warm_start : bool, default=False
        Whether `fit` goes on from the last fit's state: with the same columns,
        network, objective and reference.
    device : str or torch.device, default="auto"
        "auto" takes CUDA where it is there.
    random_state : int, RandomState or None, default=None
        One int gives one result on one device. None is seeded by the system.
    verbose : int, default=0
        Print a line every ``verbose`` epochs, one after the reference is fitted and one
        with log Z; and how far it is, with the time left, in what takes over a second.
    checkpoint : str, path or None, default=None
        A folder where `fit` keeps the state of its training. If it is killed, the same
        `fit` in a new process goes on from there, and on a CPU ends in the same
        numbers; of other options or rows it is a ValueError. Its end removes the files.

    Attributes
    ----------
    network_ : nn.Module
        The trained net.
    reference_ : skebm.references.Density
        The fitted reference, in standardised units.
    objective_ : Objective
        The objective trained by.
    log_normalizer_, log_normalizer_se_ : float or None
        log Z and its standard error, in nats, estimated at the first question from a
        seed that the fit drew.
    normalizer_result_ : skebm.evaluation.LogNormalizer or None
        The whole result, with the effective sample size.
    offset_ : float
        Threshold of `predict` on `ood_scores`, for each ``contamination`` and
        ``ood_score``: by the held-out rows and, where these are fewer than 300, by the
        training rows, each scored as if it had been left out.
    n_calibration_ : int
        Rows that `p_values` compares with, where none are given.
    ood_report_ : dict of dict
        Of ``ood_score="auto"``: for each score that it is a mean of, its "weight", and
        the area under the ROC curve by which it tells rows from the same rows
        "extrapolated", "jittered", "shuffled" and "replaced". Weights depend on the
        first two. ``pandas.DataFrame(model.ood_report_).T`` is a table of it.
    history_ : dict of str to list
        Losses and held-out scores, one entry an epoch. States are compared by
        "validation_log_likelihood" less "gain_standard_error", the standard error of
        its gain over the reference.
    n_iter_ : int
        Epochs of the last fit.
    is_categorical_ : ndarray of bool of shape (n_features_in_,), or None
        Which columns are categories; None where none is.
    is_trimmed_ : ndarray of bool of shape (n_samples,), or None
        Which rows of X were left out as outliers; None where ``trim_fraction=0``.
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
        `fit` raises it if training diverges and can't be brought back.

    See Also
    --------
    JEMClassifier : Classes and a density in one net.

    References
    ----------
    Gutmann, Hyvarinen. Noise-contrastive estimation of unnormalized models. JMLR, 2012.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = EBMDensityEstimator(max_iter=5, random_state=0).fit(X)
    >>> model.score_samples(X).shape
    (150,)
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseEBM._parameter_constraints,
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "image_shape": ["array-like", None],
        "atoms": [StrOptions({"auto"}), None],
        "sentinels": [StrOptions({"warn", "atom", "missing"})],
        "checkpoint": [str, PathLike, None],
        "trim_fraction": [Interval(Real, 0, 0.5, closed="both")],
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
        image_shape=None,
        categorical_features="from_dtype",
        atoms=None,
        sentinels="warn",
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
        trim_fraction=0.0,
        contamination=0.05,
        ood_score="auto",
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
        checkpoint=None,
    ):
        self.objective = objective
        self.network = network
        self.reference = reference
        self.normalizer = normalizer
        self.image_shape = image_shape
        self.categorical_features = categorical_features
        self.atoms = atoms
        self.sentinels = sentinels
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
        self.trim_fraction = trim_fraction
        self.contamination = contamination
        self.ood_score = ood_score
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint = checkpoint

    @with_gradients
    @with_callbacks
    def fit(self, X, y=None, sample_weight=None):
        """Fit the density to the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing. Then stochastic EM maximises the
            likelihood of the observed entries. Rows that have no entry are left out.
            Of batches (an iterator, DataLoader, Dataset or reader of Arrow) a million
            rows are drawn, if there are more, by `skebm.datasets.sample_rows`.
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : EBMDensityEstimator
        """
        del y
        self._validate_params()
        X = rows_at_hand(X, sample_weight, self.random_state)
        before = self._fitted if self.warm_start else None
        read = self._read_rows(
            X, sample_weight, before, min_rows=2, share=self.trim_fraction
        )
        before = before and before.seeing(read.table)
        split = split_at_random(self.early_stopping, self.validation_fraction)
        start = start_of(self, read) if before is None else None
        task, encoder, rng = self._plan(read, before, split, start)
        progress = self._progress(X, None, task, read, **learnt_of(read))
        if before is None:
            fitted = fit(task, encoder, rng, progress.on_epoch)
        else:
            fitted = go_on(before, task, rng, progress.on_epoch)
        progress.end()
        return self._publish(fitted, read, **learnt_of(read))

    @with_gradients
    def partial_fit(self, X, y=None, sample_weight=None):
        """Make one pass over the rows of X, at a constant learning rate.

        The first call also fits scaling and reference, so its rows must be typical. The
        values that draws can have (see `impute`) are those of the rows of all calls.
        log Z and the threshold are computed anew at the next question that needs them.

        Parameters
        ----------
        X : {array-like, dataframe} of shape (n_samples, n_features)
            Rows, with the columns of `fit`; NaN where an entry is missing.
        y : Ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : EBMDensityEstimator
        """
        del y
        self._validate_params()
        before = self._fitted
        read = self._read_rows(X, sample_weight, before, 2 if before is None else 1)
        before = before and before.seeing(read.table)
        task, encoder, rng = self._plan(read, before, keep_all)
        if before is None:
            fitted = fit_pass(task, encoder, rng)
        else:
            fitted = go_on_pass(before, task, rng)
        return self._publish(fitted, read, **learnt_of(read))

    def fit_predict(self, X, y=None, **fit_params):
        """Fit to the rows of X, and tell those in distribution (+1) from outliers (-1).

        No row is compared with itself by the scores that keep rows, such as "auto",
        which scores the rows of small tables as if left out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.
        **fit_params : dict
            Other parameters of `fit`.

        Returns
        -------
        inlier : ndarray of int of shape (n_samples,)
            By other scores, fewer than the share ``contamination`` may be -1: the
            threshold is that of new rows, and these rows were trained on.
        """
        self.fit(X, y, **fit_params)
        scores = self._outlier_scores(self._read(X, allow_nan=True), of_fit=True)
        return np.where(scores >= self.offset_, 1, -1)

    def sample(
        self, n_samples=1, random_state=None, *, given=None, sampler=None, n_steps=100
    ):
        """Draw rows from the model's density, or from p(missing | given).

        Sequential Monte Carlo starts from the reference, with importance weights and
        moves of chains (`skebm.evaluation.annealed_samples`). So draws follow p(x), not
        the generator that trained it. A normalised network draws exactly, by itself.
        Each draw is moved to the nearest values that the columns can take: see
        `impute`.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows; with `given`, for each of its rows.
        random_state : int, RandomState or None, default=None
            None is seeded by the system, so that two calls differ.
        given : array-like of shape (n_given, n_features) or dict, default=None
            Rows whose columns are held; NaN where a column is to be drawn. A data frame
            may have some of the columns; a dict of columns to values is one row. A
            `skebm.exceptions.DataWarning` names given numbers that the column can't
            take by the rows of `fit`. Another says if draws can't be trusted.
        sampler : AbstractSampler, default=None
            Moves chains from draws of the reference instead, for example
            `skebm.samplers.AugmentedLangevin`, in standardised units.
        n_steps : int, default=100
            Steps of these chains.

        Returns
        -------
        X : array or data frame of shape (n_samples, n_features) or (n_given * \
                n_samples, n_features)
            In the units of the X of `fit`; those of the first given row come first. A
            data frame where the given rows, or without any the X of `fit`, were one,
            with its names, labels of rows, and dtypes where these hold the values.
        """
        check_is_fitted(self, "network_")
        check_n_samples(n_samples)
        rng = private_random_state(random_state)
        chains = chains_of(sampler, n_steps, given)
        like, given = self._read_given(given)
        return self._reader.write(self._draw(n_samples, rng, given, None, chains), like)

    def transform(self, X):
        """Return the features that the net has learnt: what its last layer is given.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; for one with missing entries it is the mean over 32 draws of them.

        Returns
        -------
        features : ndarray of shape (n_samples, n_hidden)
            float64. The energy is linear in them; the reference is no part of them.

        Raises
        ------
        ValueError
            Where the net has no linear layer at its end, as normalised nets.
        """
        table = self._read(X, allow_nan=True)
        features, filled = self._fitted.hidden_features(table)
        self._warn_of_draws(filled)
        return features

    @property
    def _n_features_out(self):
        return self._fitted.n_hidden

    def _read_rows(self, X, sample_weight, before, min_rows, share=0.0):
        """Return the rows that count and are not trimmed, with their weights."""
        read = (self._learn_columns if before is None else self._known_columns)(
            X,
            categorical_features=self.categorical_features,
            sentinels=self.sentinels,
            as_float64=self.atoms is not None,
            min_rows=min_rows,
            allow_nan=True,
        )
        return keep_rows(read, sample_weight, share, min_rows)

    def _plan(self, read, before, split, start=None):
        """Return the training to be done, the encoder and a source of randomness."""
        specification = Specification.of(self, read.table.shape[1], coarse_to_fine=True)
        start = start or fresh_start(self, read.table)
        rng = start.rng
        if before is None:
            atoms = {"find_atoms": self.atoms is not None, "sentinels": self.sentinels}
            encoder, tie_scale = fit_encoder(read, specification, **atoms), None
        else:
            encoder, tie_scale = before.encoder, before.assembly.tie_scale
        table, weight = keep_observed(
            encoder.without_codes(read.table), read.weight, read.names, min_rows=1
        )
        more = {"sample_weight": weight, "trimmed": read.trimmed}
        rows = TrainingRows.of(
            encoder, table, rng, split=split, tie_scale=tie_scale, **more
        )
        if before is not None:
            specification = check_goes_on(before, specification, rows.z, read.names)
        objective, files = specification.objective, start.checkpoints
        return Task(specification, rows, objective, checkpoints=files), encoder, rng

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
