"""Mean ranks of methods over tasks, and the critical difference between them."""

from __future__ import annotations

import numpy as np
from scipy.stats import friedmanchisquare, studentized_range


def mean_ranks(errors, level=0.05):
    r"""Return mean ranks, the critical difference and Friedman's p-value.

    .. math:: CD = \frac{q_\alpha}{\sqrt 2} \sqrt{\frac{k (k + 1)}{6 N}}

    for k methods and N tasks, by Nemenyi's test: q is the studentised range of k means.

    Parameters
    ----------
    errors : DataFrame of N tasks by k methods
        Low is good; no entry may be missing.
    level : float, default=0.05
        Probability that any two methods differ significantly if all are equal.

    Returns
    -------
    ranks : Series
        1 is best.
    difference : float
    p_value : float
        Of the hypothesis that all methods are equal; NaN for fewer than three methods.

    References
    ----------
    Demsar. Statistical comparisons of classifiers over multiple data sets. JMLR 2006.
    """
    n_tasks, n_methods = errors.shape
    ranks = errors.rank(axis=1).mean()
    quantile = studentized_range.ppf(1 - level, n_methods, np.inf)
    difference = quantile * np.sqrt(n_methods * (n_methods + 1) / (12 * n_tasks))
    p_value = np.nan
    if n_methods > 2:
        p_value = friedmanchisquare(*errors.to_numpy().T).pvalue
    return ranks.sort_values(), float(difference), float(p_value)


def draw_ranks(ranks, difference, path):
    """Draw the methods on a scale of ranks, with bars over those that do not differ.

    A bar joins methods whose ranks differ by less than the critical difference.
    """
    from matplotlib.figure import Figure

    values = ranks.to_numpy()
    bars = _groups(values, difference)
    figure = Figure(figsize=(8, 1.2 + 0.22 * len(values) + 0.12 * len(bars)))
    axis = figure.add_subplot()
    top = 1 + len(bars)
    for i, (name, rank) in enumerate(ranks.items()):
        on_left = i < (len(values) + 1) // 2
        height = -1.5 * (i if on_left else len(values) - 1 - i) - 1.5
        end = values[0] - 0.3 if on_left else values[-1] + 0.3
        axis.plot([rank, rank, end], [top, height, height], color="0.5", lw=0.8)
        side = "right" if on_left else "left"
        text = f"{name}  {rank:.2f}" if on_left else f"{rank:.2f}  {name}"
        axis.text(end, height, f" {text} ", ha=side, va="center", fontsize=8)
    for i, (first, last) in enumerate(bars):
        ends = [values[first] - 0.05, values[last] + 0.05]
        axis.plot(ends, [top - 1 - i] * 2, color="C3", lw=3, solid_capstyle="butt")
    axis.axhline(top, color="black", lw=1)
    axis.set_ylim(-1.5 * ((len(values) + 1) // 2) - 0.5, top + 0.1)
    axis.set_xlim(values[0] - 2.5, values[-1] + 2.5)
    axis.xaxis.set_ticks_position("top")
    axis.set_yticks([])
    axis.spines[["left", "right", "bottom", "top"]].set_visible(False)
    axis.set_title(f"mean rank (1 is best); critical difference {difference:.2f}")
    figure.savefig(path, dpi=120, bbox_inches="tight")


def _groups(values, difference):
    """Return the first and last method of each longest group within the difference."""
    runs, reached = [], 0
    for first in range(len(values)):
        last = int(np.searchsorted(values, values[first] + difference, "right")) - 1
        if last > max(first, reached):
            runs.append((first, last))
            reached = last
    return runs


def draw_by_labels(ranks, ours, path):
    """Draw the mean ranks of methods over the numbers of labels a class."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for method, values in ranks.iterrows():
        width = 3 if method == ours else 1.2
        ax.plot(range(len(values)), values, "o-", lw=width, label=method)
    ax.set_xticks(range(ranks.shape[1]), ranks.columns)
    ax.set(xlabel="labels a class", ylabel="mean rank by error, 1 is best")
    ax.invert_yaxis()
    ax.legend(fontsize=8, bbox_to_anchor=(1.0, 1.0), loc="upper left")
    figure.savefig(path, dpi=110)
    plt.close(figure)
