"""Stacking weights of ensemble members that differ in their unsupervised losses.

They are fitted on held-out labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import clone
from torch import Tensor

from skebm.networks import EnergyModel, EnsembleMLP
from skebm.networks._build import build_network
from skebm.objectives import ROLES, Joint, Roles
from skebm.references import UniformBox
from skebm.semi_supervised.graph._graph import LabelGraph
from skebm.semi_supervised.graph._stability import measure_stability, trust_graph
from skebm.semi_supervised.labels._class_shares import ClassShares
from skebm.semi_supervised.labels._held_out_labels import HeldOutLabels
from skebm.semi_supervised.labels._temperature import (
    LOG_TEMPERATURE_OF_FEWEST,
    fit_temperature,
    scale_by_own_temperature,
)
from skebm.semi_supervised.learners._experts import Expertise, Lessons
from skebm.semi_supervised.stacking._role_weights import (
    fit_weights,
    is_uninformative,
    prior_weights,
    realizable_weights,
)
from skebm.semi_supervised.stacking._taught import with_others
from skebm.semi_supervised.stacking._traits import TableTraits
from skebm.training import GradientRun, Loop, Schedule, TableBatches
from skebm.utils import draw_seed, isolated_rng, make_generator, phase

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

HIDDEN_FEATURES = (128, 128)
CHUNK_ROWS = 4096
MAX_STEPS = 400
ROWS_PER_MEMBER = 64
AVERAGING = 0.98
#: Prior weights of the net and of the simple learners in the supervised role, beside
#: which clusters have that of the table's traits.
EXPERT_PRIOR = {
    "net": 0.1,
    "linear": 0.3,
    "forest": 0.25,
    "extra trees": 0.2,
    "boosted trees": 0.15,
}
#: The same where no label can be held out: nets and boosted trees need more labels, and
#: unlabelled rows say more.
FEWEST_PRIOR = {
    "linear": 1 / 6,
    "forest": 1 / 6,
    "extra trees": 1 / 6,
    "clusters": 1 / 2,
}
#: Largest factor between the class priors of labelled and of unlabelled rows.
MAX_RATIO = 5.0


@dataclass(frozen=True)
class StackingWeights:
    """Weights of the roles in the mean of p(y|x), and the temperature of the mean.

    Attributes
    ----------
    weights : dict of str to float
        Of the roles, in the order of `ROLES`; of sum one, zero where no member is.
    temperature : float
        By which the logits of the mean are divided.
    expertise : Expertise or None, default=None
        The mixture that teaches the supervised role; None where the labels do.
    taught : ndarray of shape (n, n_classes) or None, default=None
        That mixture's class probabilities of the rows of the graph, and of the training
        rows outside after them.
    class_shares : ClassShares or None, default=None
        Shares of the unlabelled rows by what was stacked; None where nothing was.
    """

    weights: dict[str, float]
    temperature: float = 1.0
    expertise: Expertise | None = None
    taught: Array | None = None
    class_shares: ClassShares | None = None


@dataclass(frozen=True)
class NetTraining:
    """Size and training of the net that the stacking weights are for.

    Attributes
    ----------
    n_members : int
        Number of its classifiers; a single one takes the heaviest role.
    learning_rate : float
        Learning rate, also of the small nets that are stacked.
    n_steps : int
        Steps of its training; the small nets make 400 at most.
    device : torch.device
        Where all nets are trained.
    """

    n_members: int
    learning_rate: float
    n_steps: int
    device: torch.device


@dataclass(frozen=True, eq=False)
class Stacking:
    r"""Stacking by cross-validation over the labelled rows.

    .. math:: \max_w \sum_i v_i \log \sum_r w_r \, p_r(y_i | x_i)
              + a \sum_r \pi'_r \log w_r, \qquad
              \pi'_r \propto \pi_r \prod_i p_r(y_i | x_i)^{v_i b}

    with p_r of a small net of role r, trained without a fifth of the labels, that of
    row i among them, and :math:`v_i` the weight of row and class, of mean one; all nets
    of all folds are trained at once. :math:`\pi` is the prior. With few labels the
    weights are those of model averaging, :math:`\pi'`, by a power b = 0.3 of the
    likelihood; these are worth a = 50 labels where many labels stack the roles. Each
    p_r is first taken to the power of 1 / T, with the T that maximises its likelihood
    under a normal prior of mean 0.2, deviation 0.4 on log T; for the weights alone: in
    the end the mean of the p_r as they are gets a temperature likewise. Where a hundred
    labels or more show that no role has more than a fourteenth of the classes' entropy
    as information, the supervised role is alone.

    Attributes
    ----------
    objective : Joint
        The classifier's, without density and roles.
    active : sequence of str
        The roles to weigh.
    training : NetTraining
        Size and training of the net that the weights are for.

    References
    ----------
    Wolpert. Stacked generalization. Neural Networks 1992. Yao, Vehtari, Simpson,
    Gelman. Using stacking to average Bayesian predictive distributions. Bayesian
    Analysis 2018. Guo, Pleiss, Sun, Weinberger. On calibration of modern neural
    networks. ICML 2017.
    """

    objective: Joint
    active: Sequence[str]
    training: NetTraining

    def fit(
        self,
        z: Tensor,
        weight: Tensor | None,
        graph: LabelGraph,
        rng: np.random.RandomState,
    ) -> StackingWeights:
        """Train the small nets and return the weights that held-out labels give.

        Parameters
        ----------
        z : Tensor of shape (n, n_features)
            Standardised rows.
        weight : Tensor of shape (n,) or None
            Sample weights.
        graph : LabelGraph
            Graph of the training rows, with their labels.
        rng : RandomState
            Draws the folds and the seeds of the nets.
        """
        held_out = HeldOutLabels.choose(graph.y, len(graph.class_priors), rng)
        rows = torch.from_numpy(graph.rows)
        x, weight = z[rows], None if weight is None else weight[rows]
        traits = TableTraits.measure(x.numpy(), draw_seed(rng))
        stability = measure_stability(graph, rng)
        trust = trust_graph(stability, graph.y)
        prior = prior_weights(self.active, traits.supervised(stability), trust)
        if held_out is None:
            lessons = self._lessons(x, weight, graph, rng)
            return self._by_prior(lessons, z, graph, prior)
        model = self._train(x, weight, graph, held_out, rng)
        predicted = _predict_held_out(model, x, held_out)
        everywhere = _predict_all(model, x, held_out.n_folds)
        lessons = self._lessons(x, weight, graph, rng)
        sample_weight = weigh_labels(weight, self.objective.class_weights, held_out)
        if self.objective.class_shares is not None:
            n_classes = len(graph.class_priors)
            counts = np.bincount(held_out.labels, sample_weight, minlength=n_classes)
            estimated = [uses_estimated_priors(r, self.objective) for r in self.active]
            ratio = counts / counts.sum() / np.maximum(graph.class_priors, 1e-12)
            predicted = reweight_classes(predicted, np.array(estimated), ratio)
            everywhere = reweight_classes(everywhere, np.array(estimated), ratio)
        by_experts = None if lessons is None else lessons.predict_held_out(held_out)
        stacked, mean = self._combine(
            predicted, by_experts, held_out.labels, sample_weight, prior, traits
        )
        if lessons is None or stacked.expertise is None:
            return stacked
        place = list(self.active).index("supervised")
        learners, expertise = lessons.learn(graph.y), stacked.expertise
        by_name = {"net": everywhere[place]} | learners.predict(
            lessons.x, np.arange(len(x))
        )
        everywhere[place] = taught = expertise.mix(by_name)

        def by_net(rows: Tensor) -> Array:
            return _predict_all(model, rows, held_out.n_folds, place)

        taught = with_others(taught, z, graph, expertise, learners, by_net)
        shares = ClassShares.estimate(
            self._mean(stacked.weights, everywhere)[graph.y < 0],
            mean,
            held_out.labels,
            graph.labeled_shares,
            rng,
            self._trained_shares(graph.y, weight),
        )
        return replace(stacked, taught=taught, class_shares=shares)

    def _by_prior(
        self,
        lessons: Lessons | None,
        z: Tensor,
        graph: LabelGraph,
        prior: Mapping[str, float],
    ) -> StackingWeights:
        """Return the prior weights, where no label can be held out."""
        y = graph.y
        weights = realizable_weights(prior, self.training.n_members)
        stacked = StackingWeights(weights, float(np.exp(LOG_TEMPERATURE_OF_FEWEST)))
        if lessons is None or len(np.unique(y[y >= 0])) < 2:
            return stacked
        expertise = Expertise(
            FEWEST_PRIOR, dict.fromkeys(FEWEST_PRIOR, 1.0), int((y >= 0).sum())
        )
        learners = lessons.learn(y, tuple(FEWEST_PRIOR))
        taught = expertise.mix(learners.predict(lessons.x, np.arange(len(y))))
        taught = with_others(taught, z, graph, expertise, learners)
        return replace(stacked, expertise=expertise, taught=taught)

    def _trained_shares(self, y: Indices, weight: Tensor | None) -> Array:
        """Return the class shares of the labels by their weights in training."""
        labeled = np.flatnonzero(y >= 0)
        weights = np.ones(len(labeled))
        if weight is not None:
            weights = weight.double().numpy()[labeled]
        if self.objective.class_weights is not None:
            weights = weights * np.array(self.objective.class_weights)[y[labeled]]
        totals = np.bincount(y[labeled], weights)
        return totals / totals.sum()

    def _mean(self, weights: Mapping[str, float], predicted: Array) -> Array:
        """Return the weighted mean of the roles' predictions, (n, n_classes)."""
        return np.tensordot([weights[role] for role in self.active], predicted, 1)

    def _lessons(
        self,
        x: Tensor,
        weight: Tensor | None,
        graph: LabelGraph,
        rng: np.random.RandomState,
    ) -> Lessons | None:
        """Return what simple learners are fitted from; None without unlabelled rows."""
        if graph.edges is None or "supervised" not in self.active:
            return None
        n_classes, class_weights = len(graph.class_priors), self.objective.class_weights
        seed = draw_seed(rng)
        return Lessons.of(x, graph.y, n_classes, weight, class_weights, seed)

    def _train(
        self,
        x: Tensor,
        weight: Tensor | None,
        graph: LabelGraph,
        held_out: HeldOutLabels,
        rng: np.random.RandomState,
    ) -> EnergyModel:
        """Train a net for each role and fold; return the model."""
        n_folds = held_out.n_folds
        versions = [held_out.hide(graph.y, fold) for fold in range(n_folds)]
        counts = [n_folds * (role in self.active) for role in ROLES]
        roles = Roles((counts[0], counts[1], counts[2], counts[3]))
        row_graph = None
        if graph.edges is not None and roles.n_on_graph:
            row_graph = graph.of_versions(versions)
        objective = clone(self.objective).set_params(roles=roles)
        model = self._build_nets(x, roles, len(graph.class_priors), rng)
        generator = make_generator(draw_seed(rng), self.training.device)
        run = GradientRun(model, objective, generator, AVERAGING)
        n_dealt = max(roles.n_consistent, roles.n_on_graph, 1)
        schedule = Schedule(
            self.training.learning_rate, batch_size=ROWS_PER_MEMBER * n_dealt
        )
        batches = TableBatches(
            x,
            torch.from_numpy(np.stack(versions, axis=1)),
            weight,
            torch.arange(len(x)),
            device=self.training.device,
            n_labeled=ROWS_PER_MEMBER,
            graph=row_graph,
        )
        steps_per_epoch = batches.n_steps(min(schedule.batch_size, len(x)))
        loop = Loop()
        n_epochs = -(-min(self.training.n_steps, MAX_STEPS) // steps_per_epoch)
        with phase("small nets, by held-out labels"):
            loop.fit(run.configure(objective, schedule), batches, n_epochs)
        if loop.interrupted:
            raise KeyboardInterrupt
        return run.averaged_model

    def _build_nets(
        self, x: Tensor, roles: Roles, n_classes: int, rng: np.random.RandomState
    ) -> EnergyModel:
        builder = partial(
            EnsembleMLP, hidden_features=HIDDEN_FEATURES, n_members=roles.n_members
        )
        with isolated_rng(draw_seed(rng), self.training.device):
            network = build_network(builder, x.shape[1], n_classes)
        box = UniformBox(x.amin(dim=0) - 1, x.amax(dim=0) + 1)
        return EnergyModel(
            network.to(self.training.device), box.to(self.training.device)
        )

    def _combine(
        self,
        predicted: Array,
        by_experts: Array | None,
        labels: Indices,
        sample_weight: Array,
        prior: Mapping[str, float],
        traits: TableTraits,
    ) -> tuple[StackingWeights, Array]:
        """Return weights and temperature by predictions (n_roles, n, n_classes).

        And the mixture of the supervised nets with the simple learners, if any; and the
        mean of all, shape (n, n_classes).
        """
        n_classes = predicted.shape[2]
        place = list(self.active).index("supervised")
        scaled = np.stack(
            [scale_by_own_temperature(p, labels, sample_weight) for p in predicted]
        )
        expertise, nets = None, predicted[place]
        if by_experts is not None:
            parts = np.stack([nets, *by_experts])
            by_name = expert_prior(traits)
            expertise, mixed = mix_experts(parts, labels, sample_weight, by_name)
            # What is taught is calibrated: the roles are judged by what they say.
            predicted = predicted.copy()
            predicted[place] = mixed
            scaled = predicted
        likelihoods = scaled[:, np.arange(len(labels)), labels]
        by_prior = np.array([prior[role] for role in self.active])
        found = fit_weights(likelihoods, by_prior, n_classes, sample_weight)
        if is_uninformative(likelihoods, labels, sample_weight, n_classes):
            found = np.array([float(role == "supervised") for role in self.active])
        by_role = dict(zip(self.active, found.tolist(), strict=True))
        weights = realizable_weights(by_role, self.training.n_members)
        mean = self._mean(weights, predicted)
        temperature = fit_temperature(np.log(mean + 1e-12), labels, sample_weight)
        return StackingWeights(weights, temperature, expertise), mean


def expert_prior(traits: TableTraits) -> dict[str, float]:
    """Return the prior weights of the net and the learners in a table, of sum one."""
    total = 1 + traits.clusters
    by_name = {name: weight / total for name, weight in EXPERT_PRIOR.items()}
    return by_name | {"clusters": traits.clusters / total}


def mix_experts(
    predicted: Array,
    labels: Indices,
    sample_weight: Array,
    prior_of: Mapping[str, float],
) -> tuple[Expertise, Array]:
    """Return the weights of nets and simple learners, and their mixture.

    Parameters
    ----------
    predicted : ndarray of shape (n_parts, n, n_classes)
        Class probabilities of held-out rows.
    labels, sample_weight : ndarray of shape (n,)
        Class indices and weights of these rows.
    prior_of : mapping of str to float
        Prior weights of the parts by name, in their order.
    """
    log_prob = np.log(predicted + 1e-12)
    temperatures = [fit_temperature(p, labels, sample_weight) for p in log_prob]
    scaled = softmax(log_prob / np.reshape(temperatures, (-1, 1, 1)), axis=2)
    likelihoods = scaled[:, np.arange(len(labels)), labels]
    prior = np.array(list(prior_of.values()))
    weights = fit_weights(likelihoods, prior, predicted.shape[2], sample_weight)
    expertise = Expertise(
        dict(zip(prior_of, weights.tolist(), strict=True)),
        dict(zip(prior_of, temperatures, strict=True)),
        len(labels),
    )
    return expertise, np.tensordot(weights, scaled, 1)


@torch.no_grad()
def _predict_held_out(model: EnergyModel, x: Tensor, held_out: HeldOutLabels) -> Array:
    """Return p(y | x) of held-out rows by each role, (n_roles, n, n_classes)."""
    device = next(model.parameters()).device
    rows = x[torch.from_numpy(held_out.rows)].to(device)
    logits = model.member_logits(rows.expand(model.n_members, -1, -1))
    probability = logits.double().softmax(dim=2)
    by_role = probability.unflatten(0, (-1, held_out.n_folds)).cpu().numpy()
    return by_role[:, held_out.folds, np.arange(len(held_out))]


@torch.no_grad()
def _predict_all(
    model: EnergyModel, x: Tensor, n_folds: int, role: int | None = None
) -> Array:
    """Return p(y | x) of all rows by each role, the mean over the nets of all folds.

    By one role, it has the shape (n, n_classes).
    """
    device = next(model.parameters()).device
    n_nets = model.n_members
    groups = [n_nets] if role is None else [n_folds] * (n_nets // n_folds)
    members, n_nets = model.split(groups)[role or 0], groups[0]
    parts = []
    for rows in x.split(CHUNK_ROWS):
        logits = members(rows.to(device).expand(n_nets, -1, -1))
        by_role = logits.double().softmax(2).unflatten(0, (-1, n_folds)).mean(1)
        parts.append(by_role.cpu())
    by_role = torch.cat(parts, dim=1)
    return (by_role if role is None else by_role[0]).numpy()


def weigh_labels(
    weight: Tensor | None,
    class_weights: tuple[float, ...] | None,
    held_out: HeldOutLabels,
) -> Array:
    """Return the weights that held-out labels have in training, scaled to mean one."""
    n_labels = len(held_out)
    weights = np.ones(n_labels) if weight is None else weight.numpy()[held_out.rows]
    if class_weights is not None:
        weights = weights * np.array(class_weights)[held_out.labels]
    total = weights.sum()
    return weights * n_labels / total if total else np.ones(n_labels)


def uses_estimated_priors(role: str, objective: Joint) -> bool:
    """Return True if a role learns from the class priors of the unlabelled rows."""
    by_balance = "consistency" in role and objective.balance_weight > 0
    return by_balance or "graph" in role


def reweight_classes(predicted: Array, which: NDArray[np.bool_], ratio: Array) -> Array:
    """Change some roles' predictions to other class priors, by Bayes' theorem.

    Parameters
    ----------
    predicted : ndarray of shape (n_roles, n, n_classes)
        Class probabilities.
    which : ndarray of bool of shape (n_roles,)
        The roles to change.
    ratio : ndarray of shape (n_classes,)
        The new class priors over those that the predictions were made with.
    """
    # Predictions are little affected by an estimated prior near zero.
    ratio = np.clip(ratio, 1 / MAX_RATIO, MAX_RATIO)
    predicted = predicted * np.where(which[:, None, None], ratio, 1.0)
    return predicted / predicted.sum(axis=2, keepdims=True)
