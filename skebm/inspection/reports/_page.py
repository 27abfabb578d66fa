"""The page of a report: its sections as HTML, with pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from skebm.inspection._log_normalizer import LogNormalizerDisplay
from skebm.inspection._matplotlib import pyplot
from skebm.inspection._ood_score import OODScoreDisplay
from skebm.inspection._samples import SamplesDisplay
from skebm.inspection._training import TrainingDisplay
from skebm.inspection.reports import _html

#: Columns whose pairs the page shows.
N_SHOWN = 5


def html_of(
    values: Mapping[str, Any], findings: list[str], material: Mapping[str, Any]
) -> str:
    """Return the whole page."""
    model = values["model"]
    title = f"{model['name']}: {model['n_train']} rows, {model['n_features']} columns"
    parts = [
        _html.paragraph(
            f"Fitted to {model['n_train']} rows; judged by {model['n_test']} others "
            f"and {model['n_draws']} draws. Log densities are in nats, in the units "
            "of the columns."
        ),
        _html.notes(findings),
        *likelihood_section(values),
        *normalizer_section(values, material),
        *fit_section(values, material),
        *copying_section(values),
        *outlier_section(values, material),
        *training_section(values, material),
        *columns_section(values),
    ]
    return _html.page(title, parts)


def shown(display: Any, text: str) -> str:
    """Return the picture that a display has drawn, and close its figure."""
    try:
        return _html.picture(display.figure_, text)
    finally:
        pyplot("Report").close(display.figure_)


def likelihood_section(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the section on log-likelihoods."""
    found = values["log_likelihood"]
    yield _html.heading("Held-out log-likelihood")
    names = {
        "model": "the model",
        "gaussian": "one Gaussian",
        "gaussian_mixture": "a Gaussian mixture, components by BIC",
        "kernel_density": "a kernel density, bandwidth by cross-validation",
        "model_on_train": "the model, on the rows of fit",
    }
    rows = [(text, found[name]) for name, text in names.items()]
    yield _html.table(["density", "mean log density (nats)"], rows)
    if found["gaussian"] is None:
        yield _html.paragraph(
            "Simple densities are compared where all columns are numbers without gaps, "
            "of more than ten values."
        )


def normalizer_section(
    values: Mapping[str, Any], material: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the section on log Z and the integral."""
    found, mass = values["log_normalizer"], values["mass"]
    if found is None:
        return
    yield _html.heading("log Z")
    rows = [
        ("log Z", found["log_normalizer"], found["standard_error"]),
        ("in reverse", found["reverse"], found["reverse_standard_error"]),
    ]
    if mass is not None:
        rows.append(("integral of the density", mass["mass"], mass["standard_error"]))
    yield _html.table(["", "estimate", "standard error"], rows)
    display = LogNormalizerDisplay.from_estimator(
        material["estimator"], n_samples=1000, random_state=material["random_state"]
    )
    yield shown(display, "Log weights of draws and the estimates of log Z")


def fit_section(
    values: Mapping[str, Any], material: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the section on draws beside held-out rows."""
    yield _html.heading("Draws beside held-out rows")
    auc, pairs = values["two_sample_auc"], values["pairs"]
    utility = values["global_utility"]
    rows: list[tuple[str, Any, Any]] = [
        ("two-sample AUC of a forest", auc, 0.5),
        ("mean difference of pairs' associations", pairs["draws"], pairs["rows"]),
        ("global utility (mean)", utility["mean"], 1.0),
    ]
    yield _html.table(["", "draws", "rows like those of fit"], rows)
    if pairs["worst"] is not None:
        worst = pairs["worst"]
        yield _html.paragraph(
            f"The pair that draws fit least is {' and '.join(worst['columns'])}: "
            f"association {worst['rows']:.2f} in rows, {worst['draws']:.2f} in draws."
        )
    test, draws = material["test"], material["draws"]
    columns = list(range(min(N_SHOWN, test.n_features)))
    display = SamplesDisplay(test, draws, columns, auc).plot()
    yield shown(display, "Pairs of columns, of rows and of draws")
    by_column = [
        (name, found["draws"], found["rows"], utility["columns"][name])
        for name, found in values["marginals"].items()
    ]
    yield _html.table(
        ["column", "distance of draws", "distance of rows of fit", "utility"], by_column
    )
    yield _html.paragraph(
        "Distances are Kolmogorov's and Smirnov's of numbers and the total variation of"
        " categories, to the held-out rows. Utility: how well a forest trained on draws"
        " predicts the column from the others, over one trained on rows."
    )


def copying_section(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the section on draws that copy rows."""
    found = values["copying"]
    yield _html.heading("Are draws copies of rows?")
    rows = [
        ("median distance to the nearest row of fit", found["draws"], found["rows"]),
        ("share that equals a row of fit", found["exact_draws"], found["exact_rows"]),
    ]
    yield _html.table(["", "draws", "held-out rows"], rows)
    yield _html.paragraph(
        f"A draw is nearer than a held-out row in {found['nearer']:.0%} of the "
        "comparisons: 50 % where draws are like new rows, near 100 % where they are "
        "copies."
    )


def outlier_section(
    values: Mapping[str, Any], material: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the section on the threshold of outliers."""
    found, scores = values["outliers"], material["scores"]
    if found is None:
        return
    yield _html.heading("Outliers")
    rows = [
        ("outlier score", found["score"]),
        ("threshold", found["threshold"]),
        (
            "contamination, the share of new rows below it",
            found["contamination"],
        ),
        ("share of held-out rows below it", found["below_test"]),
        ("share of the rows of fit below it", found["below_train"]),
        ("rows that p-values compare with", found["n_calibration"]),
    ]
    yield _html.table(["", ""], rows)
    display = OODScoreDisplay.from_predictions(
        scores["test"], threshold=scores["threshold"], names=("held-out rows", "")
    )
    yield shown(display, "Outlier scores of held-out rows, and the threshold")


def training_section(
    values: Mapping[str, Any], material: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the section on training."""
    if values["model"]["n_epochs"] is None:
        return
    yield _html.heading("Training")
    display = TrainingDisplay.from_estimator(material["estimator"])
    yield shown(display, "Losses and held-out scores by epoch")


def columns_section(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the section on the columns of the table."""
    yield _html.heading("Columns")
    rows = [
        (
            name,
            found["kind"],
            found["n_values"],
            found["missing"],
            found["constant"],
            found["tied"],
            listed(found["atoms"]),
            listed(found["sentinels"]),
            ", ".join(found["depends_on"]),
        )
        for name, found in values["columns"].items()
    ]
    head = ["column", "kind", "values", "missing", "constant", "tied"]
    yield _html.table([*head, "atoms", "sentinels", "follows from"], rows)


def listed(shares: Mapping[float, float]) -> str:
    """Return values and their shares as words."""
    return ", ".join(f"{value:g}: {share:.1%}" for value, share in shares.items())
