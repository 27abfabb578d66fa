"""How far to listen to unlabelled rows: roles stacked by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import clone

from skebm.models._specification import build_network
from skebm.networks import EnergyModel, EnsembleMLP
from skebm.objectives import ROLES, Roles, share_out
from skebm.references import UniformBox
from skebm.semi_supervised._held_out_labels import choose_judges, fold_numbers
from skebm.training import GradientRun, Loop, TableBatches
from skebm.utils import draw_seed, isolated_rng, make_generator

HIDDEN_FEATURES = (128, 128)
N_STEPS = 400
ROWS_PER_MEMBER = 64
#: What roles weigh without evidence: the supervised twice as much as any other.
PRIOR = {role: 0.2 for role in ROLES} | {"supervised": 0.4}
#: How many judges that is worth.
PRIOR_STRENGTH = 3.0
#: Largest factor between the class shares of judges and of unlabelled rows.
MAX_RATIO = 5.0
#: Judges enough to tell that no role knows anything, and the share of the classes'
#: entropy that is next to nothing.
ENOUGH_JUDGES = 100
LITTLE_KNOWN = 0.07
#: Chance that a label is wrong, whatever a member says.
MISTAKE = 0.05
#: What log T is without evidence, and the deviation of that prior: few judges cannot
#: see how sure of themselves nets of few labels are.
LOG_TEMPERATURE = 0.5
LOG_TEMPERATURE_SPREAD = 0.4
AVERAGING = 0.98


@dataclass(frozen=True)
class RoleStack:
    """What the judges think of each role.

    Attributes
    ----------
    weights : dict of str to float
        Of the roles, in the order of `ROLES`; of sum one, zero where no member is.
    temperature : float
        By which the logits of the mean are divided.
    """

    weights: dict[str, float]
    temperature: float = 1.0


def prior_stack(active):
    """Return the stack of the active roles without evidence."""
    total = sum(PRIOR[role] for role in active)
    return RoleStack({r: PRIOR[r] / total if r in active else 0.0 for r in ROLES})


def stack_roles(
    Z, weight, graph, objective, active, schedule, n_steps, n_members, device, rng
):
    r"""Weigh the roles by labelled rows that are left out in turn.

    .. math:: \max_w \sum_i v_i \log \sum_r w_r \, p_r(y_i | x_i)
              + a \sum_r \pi_r \log w_r

    with p_r of a small net of role r that a fifth of the labelled rows, row i among
    them, was hidden from, and :math:`v_i` the weight of row and class, of mean one;
    all nets of all folds are trained at once. :math:`\pi` is the prior, worth a = 3
    rows. Each p_r is first taken to the power of 1 / T, with the T that maximises its
    likelihood under a normal prior of mean 0.5, deviation 0.4 on log T; for the weights
    alone: in the end the mean of the p_r as they are gets a temperature likewise. Where
    a hundred rows or more find that no role knows more than a fourteenth of the
    classes' entropy, the supervised role is alone.

    Parameters
    ----------
    Z : Tensor of shape (n, n_features)
        Standardised rows.
    weight : Tensor of shape (n,) or None
        Weights of the rows.
    graph : LabelGraph
        Names the rows to learn from, and says what their neighbours tell.
    objective : Joint
        The classifier's, without density.
    active : sequence of str
        The roles to weigh.
    schedule : Schedule
        Learning rate.
    n_steps : int
        Steps of the fit; the judges' nets make 400 at most.
    n_members : int
        Of the net that the weights are for; one takes the heaviest role.
    device : torch.device
        Where the nets are trained.
    rng : RandomState
        Seeds nets and folds.

    Returns
    -------
    stack : RoleStack

    References
    ----------
    Wolpert. Stacked generalization. Neural Networks 1992. Yao, Vehtari, Simpson,
    Gelman. Using stacking to average Bayesian predictive distributions. Bayesian
    Analysis 2018. Guo, Pleiss, Sun, Weinberger. On calibration of modern neural
    networks. ICML 2017.
    """
    n_classes = len(graph.shares)
    judges = choose_judges(graph.codes, n_classes, rng)
    if judges is None:
        weights = _carried(prior_stack(active).weights, n_members)
        return RoleStack(weights, float(np.exp(LOG_TEMPERATURE)))
    folds = fold_numbers(graph.codes[judges])
    versions = []
    for fold in np.unique(folds):
        versions.append(graph.codes.copy())
        versions[-1][judges[folds == fold]] = -1
    x = Z[torch.from_numpy(graph.numbers)]
    weight = None if weight is None else weight[torch.from_numpy(graph.numbers)]
    model = _train(
        x, weight, graph, versions, objective, active, schedule, n_steps, device, rng
    )
    guesses = _guess(model, x[torch.from_numpy(judges)], folds, len(versions))
    labels = graph.codes[judges]
    counting = _counting(weight, objective.class_weights, judges, labels)
    if objective.class_shares is not None:
        told = [_is_told_shares(role, objective) for role in active]
        present = np.bincount(labels, counting, minlength=n_classes)
        guesses = _at_judges_shares(guesses, np.array(told), present, graph.shares)
    prior = np.array([prior_stack(active).weights[role] for role in active])
    tempered = np.stack([_tempered(guess, labels, counting) for guess in guesses])
    likelihoods = tempered[:, np.arange(len(labels)), labels]
    weights = _stack(likelihoods, prior, n_classes, counting)
    nothing = _know_nothing(likelihoods, labels, counting, n_classes)
    if "supervised" in active and nothing:
        weights = np.array([float(role == "supervised") for role in active])
    weights = _carried(dict(zip(active, weights.tolist(), strict=True)), n_members)
    mean = np.tensordot([weights[role] for role in active], guesses, 1)
    return RoleStack(weights, fit_temperature(np.log(mean + 1e-12), labels, counting))


def _tempered(guess, labels, counting):
    """Return a role's guesses at its own temperature.

    Without, a role that knows more but is too sure of it would weigh less than one that
    knows nothing.
    """
    log_prob = np.log(guess + 1e-12)
    temperature = fit_temperature(log_prob, labels, counting)
    return softmax(log_prob / temperature, axis=1)


def _know_nothing(likelihoods, labels, counting, n_classes):
    """Tell whether many judges find each role little better than the class shares.

    Then none of them can show that unlabelled rows help, and the prior doesn't count.
    """
    n_judges = len(labels)
    shares = np.bincount(labels, counting, minlength=n_classes) / n_judges
    by_shares = np.log(_grant_mistakes(shares[labels], n_classes)) @ counting
    best = (np.log(_grant_mistakes(likelihoods, n_classes)) @ counting).max()
    # The first is minus the entropy of the classes, all that there is to know.
    return n_judges >= ENOUGH_JUDGES and best < (1 - LITTLE_KNOWN) * by_shares


def _counting(weight, class_weights, judges, labels):
    """Return how much each judge counts, of mean one: as it does in training."""
    counting = np.ones(len(judges)) if weight is None else weight.numpy()[judges]
    if class_weights is not None:
        counting = counting * np.array(class_weights)[labels]
    total = counting.sum()
    return counting * len(judges) / total if total else np.ones(len(judges))


def _carried(weights, n_members):
    """Return the weights of all roles as so many members can carry them."""
    roles, of_member = share_out([weights.get(role, 0.0) for role in ROLES], n_members)
    ends = np.cumsum(roles.counts)
    parts = np.split(np.array(of_member), ends[:-1])
    return {role: float(part.sum()) for role, part in zip(ROLES, parts, strict=True)}


def _train(
    x, weight, graph, versions, objective, active, schedule, n_steps, device, rng
):
    """Train a net for each role and version; return the model."""
    counts = tuple(len(versions) * (role in active) for role in ROLES)
    roles = Roles(counts)
    rows = None
    if graph.weights is not None and roles.n_on_graph:
        rows = graph.of_versions(versions)
    objective = clone(objective).set_params(roles=roles)
    builder = partial(
        EnsembleMLP, hidden_features=HIDDEN_FEATURES, n_members=roles.n_members
    )
    with isolated_rng(draw_seed(rng), device):
        network = build_network(builder, x.shape[1], len(graph.shares))
    box = UniformBox(x.amin(dim=0) - 1, x.amax(dim=0) + 1)
    generator = make_generator(draw_seed(rng), device)
    model = EnergyModel(network.to(device), box.to(device))
    run = GradientRun(model, objective, generator, AVERAGING)
    n_dealt = max(roles.n_consistent, roles.n_on_graph, 1)
    schedule = replace(schedule, batch_size=ROWS_PER_MEMBER * n_dealt, batch_growth=1.0)
    batches = TableBatches(
        x,
        torch.from_numpy(np.stack(versions, axis=1)),
        weight,
        torch.arange(len(x)),
        device=device,
        n_labeled=ROWS_PER_MEMBER,
        graph=rows,
    )
    loop = Loop()
    n_epochs = -(
        -min(n_steps, N_STEPS) // batches.n_steps(min(schedule.batch_size, len(x)))
    )
    loop.fit(run.configure(objective, schedule), batches, n_epochs)
    if loop.interrupted:
        raise KeyboardInterrupt
    return run.averaged_model


@torch.no_grad()
def _guess(model, x, folds, n_versions):
    """Return p(y | x) of hidden rows by each role, (n_roles, n, n_classes)."""
    device = next(model.parameters()).device
    logits = model.member_logits(x.to(device).expand(model.n_members, -1, -1))
    by_role = logits.double().softmax(dim=2).unflatten(0, (-1, n_versions))
    return by_role.cpu().numpy()[:, folds, np.arange(len(folds))]


def _is_told_shares(role, objective):
    """Tell whether a role's guesses are by the shares of the unlabelled rows."""
    by_balance = "consistency" in role and objective.balance_weight > 0
    return by_balance or "graph" in role


def _at_judges_shares(guesses, told, present, shares):
    """Return guesses by the judges' class shares, of the roles told other ones."""
    ratio = present / present.sum() / np.maximum(shares, 1e-12)
    # The guesses hardly follow an estimate of next to nothing.
    ratio = np.clip(ratio, 1 / MAX_RATIO, MAX_RATIO)
    guesses = guesses * np.where(told[:, None, None], ratio, 1.0)
    return guesses / guesses.sum(axis=2, keepdims=True)


def _grant_mistakes(likelihoods, n_classes):
    return (1 - MISTAKE) * likelihoods + MISTAKE / n_classes


def _stack(likelihoods, prior, n_classes, counting):
    """Return the weights of the roles by expectation maximisation."""
    likelihoods = _grant_mistakes(likelihoods, n_classes)
    weights = prior
    for _ in range(200):
        shares = weights[:, None] * likelihoods
        weights = shares / shares.sum(axis=0) @ counting + PRIOR_STRENGTH * prior
        weights /= weights.sum()
    return weights


def fit_temperature(log_prob, labels, weight=1.0):
    """Return T of the likeliest softmax(log_prob / T), shrunk towards its prior's.

    Parameters
    ----------
    log_prob : ndarray of shape (n, n_classes)
        Of rows that were not learnt from.
    labels : ndarray of int of shape (n,)
        Their class numbers.
    weight : float or ndarray of shape (n,), default=1.0
        How much each counts.
    """
    rows = np.arange(len(labels))

    def loss(log_temperature):
        scaled = log_softmax(log_prob / np.exp(log_temperature), axis=1)
        deviation = (log_temperature - LOG_TEMPERATURE) / LOG_TEMPERATURE_SPREAD
        return 0.5 * deviation**2 - (weight * scaled[rows, labels]).sum()

    return float(np.exp(minimize_scalar(loss, bounds=(-2, 2), method="bounded").x))
