"""What a reader of a report should know first, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: From where on figures are worth a sentence.
TOLD_APART, NEARER, LITTLE_UTILITY, FLATTERED = 0.75, 0.6, 0.8, 0.1


def findings(values: Mapping[str, Any]) -> list[str]:
    """Return sentences on what is amiss; none where nothing is."""
    return [*of_model(values), *of_draws(values), *of_columns(values)]


def of_model(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is amiss with training, log Z and the log-likelihood."""
    model = values["model"]
    if model["best_epoch"] == 0:
        yield (
            f"The bare reference is the model: none of {model['n_epochs']} epochs was "
            "better on held-out rows. More rows, a larger validation_fraction or a "
            "simpler reference may change that; if not, the table asks for no more."
        )
    if model["n_rollbacks"]:
        yield (
            f"Training diverged {model['n_rollbacks']} times and went back to an "
            "earlier state. A lower learning_rate makes it steadier."
        )
    log_z, mass = values["log_normalizer"], values["mass"]
    if log_z is not None and not log_z["trusted"]:
        yield f"log Z can't be trusted: {log_z['reason']}."
    if mass is not None:
        error = 3 * mass["standard_error"]
        if abs(mass["mass"] - 1) > max(FLATTERED, error):
            yield (
                f"The density integrates to {mass['mass']:.3f} (standard error "
                f"{mass['standard_error']:.3f}), not to 1: log-likelihoods are off."
            )
    likelihood = values["log_likelihood"]
    names = {
        "gaussian": "one Gaussian",
        "gaussian_mixture": "a Gaussian mixture",
        "kernel_density": "a kernel density",
    }
    known = {n: likelihood[n] for n in names if likelihood[n] is not None}
    if known and likelihood["model"] is not None:
        best = max(known, key=lambda n: known[n])
        if known[best] > likelihood["model"]:
            yield (
                f"On held-out rows {names[best]} has {known[best]:.3f} nats, more than "
                f"the model's {likelihood['model']:.3f}."
            )


def of_draws(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is amiss with draws."""
    auc, near = values["two_sample_auc"], values["copying"]["nearer"]
    if auc > TOLD_APART:
        yield f"A forest tells draws from rows with AUC {auc:.2f} (0.5: not at all)."
    if near > NEARER:
        yield (
            f"Draws are nearer to training rows than new rows are, in {near:.0%} of "
            "comparisons: the model may copy rows."
        )
    utility = values["global_utility"]["mean"]
    if utility is not None and utility < LITTLE_UTILITY:
        yield f"Forests trained on draws are worth {utility:.2f} of those on rows."


def of_columns(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is particular about columns, unless the model's options say it."""
    columns, model = values["columns"], values["model"]
    if constant := [name for name, found in columns.items() if found["constant"]]:
        yield f"Constant: {', '.join(constant)}."
    for name, found in columns.items():
        if found["sentinels"] and model["sentinels"] in ("warn", None):
            yield (
                f"{name} repeats {shares(found['sentinels'])} far away from its other "
                "values. If that stands for a missing entry, replace it by NaN or set "
                "sentinels='missing'."
            )
        if found["atoms"] and model["atoms"] is None:
            yield (
                f"{name} has {shares(found['atoms'])} far more often than other values;"
                " atoms='auto' gives these a probability."
            )
        if found["depends_on"]:
            yield f"{name} follows from {', '.join(found['depends_on'])}."


def shares(values: Mapping[float, float]) -> str:
    """Return values and their shares as words."""
    return ", ".join(f"{v:g} ({share:.1%})" for v, share in values.items())
