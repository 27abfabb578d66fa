"""Whole reports, as figures and as pages that a browser can open offline."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KernelDensity

from skebm import EBMDensityEstimator
from skebm.inspection import report

VOID = {"meta", "img"}


class Page(HTMLParser):
    """Checks that tags close in order, and collects what the page asks for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.sources, self.headings = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action"):
                self.sources.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.RandomState(0)
    frame = pd.DataFrame({"<b>x & y": rng.normal(size=160)})
    noisy = frame["<b>x & y"] + rng.normal(size=160)
    frame["kind"] = np.where(noisy > 0, "up", "down")
    return frame[:120], frame[120:]


@pytest.fixture(scope="module")
def made(rows):
    model = EBMDensityEstimator(reference="gaussian", max_iter=1, random_state=0)
    model.set_params(ood_score="log_density", normalizer="importance")
    return report(model.fit(rows[0]), *rows, n_samples=60)


def test_a_report_is_figures(made):
    values = made.values
    assert json.loads(json.dumps(values)) == values
    assert values["model"] | {"best_epoch": None} == {
        "name": "EBMDensityEstimator",
        "n_train": 120,
        "n_test": 40,
        "n_features": 2,
        "n_draws": 60,
        "sentinels": "warn",
        "atoms": None,
        "n_epochs": 1,
        "best_epoch": None,
        "n_rollbacks": 0,
    }
    assert values["log_normalizer"]["trusted"] is True
    assert values["mass"] is None and values["log_likelihood"]["gaussian"] is None
    assert 0 <= values["outliers"]["below_test"] < 0.3
    assert values["outliers"]["contamination"] == 0.05
    assert f"two-sample AUC {values['two_sample_auc']:.3f}" in str(made)


def test_a_page_is_one_file_without_addresses(made, tmp_path):
    path = made.to_html(str(tmp_path / "report.html"))
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == [] and page.seen.count("img") == 4
    assert page.sources and all(s.startswith("data:image/png;") for s in page.sources)
    assert "script" not in page.seen and "link" not in page.seen
    without_pictures = re.sub(r"base64,[\w+/=]+", "", text)
    assert "://" not in without_pictures and "url(" not in without_pictures
    assert "&lt;b&gt;x &amp; y" in text and "<b>" not in text
    assert page.headings == [
        "Held-out log-likelihood",
        "log Z",
        "Draws beside held-out rows",
        "Are draws copies of rows?",
        "Outliers",
        "Training",
        "Columns",
    ]


def test_numbers_are_compared_with_simple_densities_and_integrated(rows, monkeypatch):
    monkeypatch.setattr("skebm.inspection.reports._report.MASS_DRAWS", 1000)
    frames = [frame.drop(columns="kind") for frame in rows]
    model = EBMDensityEstimator(
        reference="gaussian", ood_score="log_density", max_iter=1, random_state=0
    ).fit(frames[0])
    values = report(model, *frames, n_samples=40).values
    held_out = model.score(frames[1])
    assert values["log_likelihood"]["model"] == pytest.approx(held_out)
    assert values["log_likelihood"]["gaussian"] == pytest.approx(held_out, abs=0.1)
    assert values["mass"]["mass"] == pytest.approx(1, abs=0.05)


def test_densities_of_other_libraries_have_reports_too(tmp_path):
    X = np.random.RandomState(0).normal(size=(60, 2))
    model = KernelDensity(bandwidth=0.3).fit(X[:40])
    found = report(model, X[:40], X[40:])
    assert found.values["log_normalizer"] is None and found.values["outliers"] is None
    assert found.values["log_likelihood"]["model"] == pytest.approx(
        model.score_samples(X[40:]).mean()
    )
    assert Page(found.to_html(tmp_path / "a.html").read_text()).seen.count("img") == 1


def test_too_few_rows_or_draws_are_refused(rows):
    with pytest.raises(ValueError, match=r"at least five rows .* Got 120 and 3"):
        report(KernelDensity(), rows[0], rows[1][:3])
    with pytest.raises(ValueError, match=r"'n_samples' .* Got 0"):
        report(KernelDensity(), *rows, n_samples=0)
    with pytest.raises(TypeError, match="object has no method sample"):
        report(object(), *rows)
