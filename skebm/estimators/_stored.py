"""Estimators that keep a fitted model, are copied cheaply, and are stored as arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from inspect import signature
from typing import ClassVar

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skebm.models import FittedModel
from skebm.models._traced import TRACED, traced_answer
from skebm.objectives import OBJECTIVES, Objective
from skebm.objectives._resolve import resolve_objective
from skebm.utils import InvalidParameterError
from skebm.utils._sklearn import CallbackSupportMixin

#: Number of the layout of a stored state: one more whenever the layout changes.
FORMAT = 2
#: By format, what brings a state to the next one. Formats of a major version load.
UPGRADES: dict[int, Callable[[dict], dict]] = {
    1: dict,  # 2 may lack what only further training needs; nothing else changed
}


class StoredEstimator(CallbackSupportMixin, BaseEstimator):
    """Base of estimators whose fit is one value, `_fitted`.

    The private values have ``to_arrays()``, and their classes ``from_arrays(arrays)``:
    a stored state does not depend on where the package keeps them. It names the version
    of skebm and a format number.
    """

    #: Classes of the private attributes, by name.
    _stored_types: ClassVar[dict[str, type]] = {}

    #: Values of options that a state may lack, where they are not the defaults.
    _earlier_options: ClassVar[dict] = {}

    #: The fitted model; None before `fit`.
    _fitted = None

    def set_params(self, **params):
        """Set parameters, those of parts as ``part__parameter``.

        An objective that is given by name becomes an instance where one of its
        parameters is set, so that a grid may be over these.

        Parameters
        ----------
        **params : dict
            Parameters by name.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            Where the part is another name or None, which has no parameters.
        """
        own = self.get_params(deep=False)
        for name in list(params):
            option, _, of_part = name.partition("__")
            value = params.get(option, own.get(option))
            if of_part and self._is_objective(option, value):
                params = {**params, option: resolve_objective(value)}
            elif of_part and option in own and isinstance(value, str | None):
                raise InvalidParameterError(
                    f"The {name!r} parameter can't be set: {option}={value!r} is no "
                    f"instance that has parameters. Pass one as {option!r} first."
                )
        return super().set_params(**params)

    def _is_objective(self, option, value):
        """Return whether the value of an option is the name of an objective."""
        takes = Objective in self._parameter_constraints.get(option, ())
        return takes and isinstance(value, str) and value in OBJECTIVES

    def torch_module(self, method="score_samples"):
        """Return a method as a module of torch, as `skebm.persistence.export` has it.

        Parameters
        ----------
        method : {"score_samples", "predict_proba"}, default="score_samples"
            "predict_proba" is for classifiers.

        Returns
        -------
        module : nn.Module
            A copy on the CPU. It takes complete rows of numbers, a float64 tensor of
            shape (n_samples, n_features) in the units of the X of `fit`, and returns
            what the method returns, as torch can differentiate it.

        Raises
        ------
        ValueError
            Where the estimator has no such method, or `fit` saw values that are not
            read by torch alone, such as categories; names the columns.
        """
        check_is_fitted(self)
        known = [name for name in TRACED if hasattr(self, name)]
        if method not in known or not isinstance(self._fitted, FittedModel):
            raise InvalidParameterError(
                f"The 'method' parameter must be one of {known} of an "
                "EBMDensityEstimator, a JEMClassifier or a JEMRegressor. Got "
                f"{method!r} of {type(self).__name__}."
            )
        temperature = getattr(self, "temperature_", 1.0)
        names = getattr(self, "feature_names_in_", None)
        return traced_answer(self._fitted, method, temperature, names)

    def __copy__(self):
        """Return a copy that shares the fitted model."""
        shallow = type(self).__new__(type(self))
        for name, value in vars(self).items():
            setattr(shallow, name, value)
        return shallow

    def __getstate__(self):
        state = dict(super().__getstate__())
        state |= {"_skebm_version": version("skebm"), "_skebm_format": FORMAT}
        for name in self._stored_types:
            if state.get(name) is not None:
                state[name] = state[name].to_arrays()
        return state

    def __setstate__(self, state):
        state = _upgraded(dict(state), type(self).__name__)
        for name, kind in self._stored_types.items():
            if isinstance(state.get(name), Mapping):  # codecs were stored as they are
                state[name] = kind.from_arrays(state[name])
        super().__setstate__(_options_of(type(self), self._earlier_options) | state)


def _options_of(kind, earlier):
    """Return the options that a state lacks where it is older than they are."""
    return {
        name: earlier.get(name, parameter.default)
        for name, parameter in signature(kind.__init__).parameters.items()
        if parameter.default is not parameter.empty
    }


def _upgraded(state, name):
    """Return a stored state in the present format.

    Raises
    ------
    ValueError
        Where it is of a format that this version can't read.
    """
    stored = state.pop("_skebm_version", "0.1.0 or earlier")
    found = state.pop("_skebm_format", 0)
    if not 0 < found <= FORMAT:
        raise ValueError(
            f"This {name} was stored by skebm {stored}, in format {found}, which skebm "
            f"{version('skebm')} can't read: it reads formats 1 to {FORMAT}. Fit the "
            f"estimator anew, or load it with skebm {stored}."
        )
    for number in range(found, FORMAT):
        state = UPGRADES[number](state)
    return state
