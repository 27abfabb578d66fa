"""Options that are a name, None or an instance: objective, reference, normaliser."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.neighbors import KernelDensity

from skebm.evaluation import NORMALIZERS, AnnealedImportanceSampling
from skebm.evaluation.normalizers._resolve import resolve_normalizer
from skebm.objectives import NCE, OBJECTIVES, PCD
from skebm.objectives._resolve import resolve_objective
from skebm.references import REFERENCES, BoxReference, GaussianReference
from skebm.references._resolve import resolve_reference

CASES = [
    (resolve_objective, "objective", OBJECTIVES, NCE()),
    (resolve_reference, "reference", REFERENCES, GaussianReference()),
    (resolve_normalizer, "normalizer", NORMALIZERS, AnnealedImportanceSampling()),
]


@pytest.mark.parametrize(("resolve", "option", "known", "instance"), CASES)
def test_a_name_an_instance_or_an_error(resolve, option, known, instance):
    for name in known:
        assert repr(resolve(name)) == repr(clone(resolve(name)))
    fresh = resolve(instance)
    assert fresh is not instance and repr(fresh) == repr(instance)
    with pytest.raises(ValueError, match=f"The '{option}' parameter must be one of"):
        resolve("unheard of")


def test_none():
    assert resolve_objective(None) is None
    assert resolve_normalizer(None) is None
    assert isinstance(resolve_reference(None), BoxReference)


def test_options_are_checked():
    with pytest.raises(ValueError, match="'n_steps'"):
        resolve_objective(PCD(n_steps=0))


def test_a_fitted_estimator_is_kept():
    fitted = KernelDensity().fit(np.zeros((3, 2)))
    assert resolve_reference(fitted).estimator is fitted
