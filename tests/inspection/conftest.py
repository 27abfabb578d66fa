"""Figures of tests are drawn without a screen, and closed after each."""

import matplotlib
import matplotlib.pyplot
import pytest

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    matplotlib.pyplot.close("all")
