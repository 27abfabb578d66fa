"""The gradient of a classification RBM: of its classes, its density, or both."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from skebm.networks import RBM, LabeledRBM

#: Weight of the newest rows in the running means that centre the gradient.
OFFSET_RATE = 0.01


@dataclass(frozen=True)
class LabeledRows:
    """Rows of a step, the labelled ones first.

    Parameters
    ----------
    v : Tensor of shape (n, d)
    codes : Tensor of int of shape (n_labeled,)
        Class indices of the first rows.
    labeled_share : float
        Weight of the labelled rows in the generative term, from 0 to 1.
    """

    v: Tensor
    codes: Tensor
    labeled_share: float


class LabeledGradient:
    r"""Gradient of an RBM over (v, y) in closed form.

    .. math:: L = \delta \, \langle \log p(y \mid v) \rangle_{l} + \alpha \left[
        \omega \langle \log p(v, y) \rangle_{l}
        + (1 - \omega) \langle \log p(v) \rangle_{u} \right]

    over labelled rows l and unlabelled rows u. Each term is made of -F(v, y), so that
    one matrix of coefficients A, n rows by n_classes, defines the gradient:

    .. math:: \nabla L = \sum_{ik} A_{ik} \nabla(-F(v_i, k))
        - \alpha \, E_{\mathrm{model}}[\nabla(-F)], \qquad
        A_{ik} = \begin{cases}
        \left[(\delta + \alpha \omega) 1_{k = y_i} - \delta p(k \mid v_i)\right] / n_l
        & i \in l \\ \alpha (1 - \omega) p(k \mid v_i) / n_u & i \in u \end{cases}

    Hidden units and, of unlabelled rows, classes are summed out. The model's mean is
    over chains of block Gibbs on (v, y); with alpha = 0 there are none, and the
    gradient is exact. It is returned in factors as in `ContrastiveGradient`.

    Parameters
    ----------
    chains : Tensor of shape (n_chains, n_hidden)
        Hidden states that the chains of "pcd" go on from.
    offsets : pair of Tensor
        Means of (v, y) and of h that the gradient is centred by; updated in place.
    discriminative_weight, generative_weight : float
        delta and alpha.
    method : {"pcd", "cd"}
        Whether chains go on from step to step or start at data.
    n_gibbs_steps : int
        Steps of each chain before its state counts.
    centered : bool
        Whether to centre.
    class_weights : Tensor of shape (n_classes,) or None
        Factors of the labelled rows' discriminative terms.
    generator : torch.Generator
        The only source of randomness.

    Attributes
    ----------
    hidden_bias, visible_bias : Tensor
        The gradients of the biases after a call.
    label_log_prob : float
        Mean log p(y | v) of the last call's labelled rows, NaN without any.

    References
    ----------
    H. Larochelle, M. Mandel, R. Pascanu and Y. Bengio, "Learning algorithms for the
    classification restricted Boltzmann machine", JMLR 13 (2012).
    """

    def __init__(
        self,
        chains: Tensor,
        offsets: tuple[Tensor, Tensor],
        *,
        discriminative_weight: float,
        generative_weight: float,
        method: str,
        n_gibbs_steps: int,
        centered: bool,
        class_weights: Tensor | None,
        generator: torch.Generator,
    ) -> None:
        self.chains = chains
        self.visible_offset, self.hidden_offset = offsets
        self.discriminative_weight = discriminative_weight
        self.generative_weight = generative_weight
        self.method = method
        self.n_gibbs_steps = n_gibbs_steps
        self.centered = centered
        self.class_weights = class_weights
        self.generator = generator

    def __call__(self, rbm: RBM, rows: LabeledRows) -> tuple[Tensor, Tensor]:
        """Return the factors of the gradient of the weights."""
        model = LabeledRBM(rbm)
        pull = model.pull(rows.v)
        log_prob = model.logits(pull).log_softmax(1)
        n_labeled = len(rows.codes)
        observed = log_prob[:n_labeled].gather(1, rows.codes[:, None])
        self.label_log_prob = float(observed.mean())
        posterior = log_prob.exp()
        share = self._generative_shares(rows)
        belief = posterior.clone()  # p(y | v), or the label where it is known
        belief[:n_labeled] = functional.one_hot(rows.codes, model.n_classes)
        coefficients = share[:, None] * belief
        if self.discriminative_weight and n_labeled:
            error = belief[:n_labeled] - posterior[:n_labeled]
            if self.class_weights is not None:
                error *= self.class_weights[rows.codes, None]
            coefficients[:n_labeled] += error * (self.discriminative_weight / n_labeled)
        factors = [_data_phase(model, rows.v, pull, coefficients)]
        if self.generative_weight:
            factors.append(self._model_phase(model, pull, belief, share))
        lefts, rights, hidden, visible = zip(*factors, strict=True)
        self.hidden_bias, self.visible_bias = sum(hidden), sum(visible)
        left, right = torch.cat(lefts), torch.cat(rights)
        if not self.centered:
            return left, right
        mean = (pull + belief @ model.class_weight.mT).sigmoid_().mean(0)
        self.hidden_offset.lerp_(mean, OFFSET_RATE)
        means = torch.cat([rows.v.mean(0), belief.mean(0)])
        self.visible_offset.lerp_(means, OFFSET_RATE)
        return self._centered(left, right)

    def snapshot(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return a copy of all that calls change."""
        offsets = self.visible_offset.clone(), self.hidden_offset.clone()
        return self.chains.clone(), *offsets

    def restore(self, snapshot: tuple[Tensor, Tensor, Tensor]) -> None:
        """Go back to a snapshot; the snapshot stays usable."""
        chains, visible_offset, hidden_offset = snapshot
        self.chains.copy_(chains)
        self.visible_offset.copy_(visible_offset)
        self.hidden_offset.copy_(hidden_offset)

    def _generative_shares(self, rows: LabeledRows) -> Tensor:
        """Return the weight of each row in the generative term, shape (n,)."""
        share = rows.v.new_empty(len(rows.v))
        n_labeled, weight = len(rows.codes), self.generative_weight
        share[:n_labeled] = weight * rows.labeled_share / max(n_labeled, 1)
        n_rest = max(len(share) - n_labeled, 1)
        share[n_labeled:] = weight * (1 - rows.labeled_share) / n_rest
        return share

    def _model_phase(
        self, model: LabeledRBM, pull: Tensor, belief: Tensor, share: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rbm, h = model.joint, self.chains
        if self.method == "cd":
            label = torch.multinomial(belief, 1, generator=self.generator)[:, 0]
            h = self._draw((pull + model.class_weight.mT[label]).sigmoid_())
        else:
            share = share.new_full((len(h),), self.generative_weight / len(h))
        for _ in range(self.n_gibbs_steps):
            s = rbm.sample_visible(h, self.generator)
            mean = rbm.hidden_field(s).sigmoid_()
            h = self._draw(mean)
        if self.method == "pcd":
            self.chains.copy_(h)
        left = -share[:, None] * mean
        return left, s, left.sum(0), -(share @ s)

    def _draw(self, probability: Tensor) -> Tensor:
        noise = torch.empty_like(probability).uniform_(generator=self.generator)
        return (noise < probability).to(probability)

    def _centered(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Express the gradient in centred parameters as one of W, b and c.

        Factors of the gradient: those of `ContrastiveGradient`, and two more rows.
        """
        h, s = self.hidden_offset, self.visible_offset
        left = torch.cat([left, -h[None], -self.hidden_bias[None]])
        right = torch.cat([right, self.visible_bias[None], s[None]])
        self.visible_bias = self.visible_bias - right.mT @ (left @ h)
        self.hidden_bias = self.hidden_bias - left.mT @ (right @ s)
        return left, right


def _data_phase(
    model: LabeledRBM, v: Tensor, pull: Tensor, coefficients: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Return the gradient of sum A_ik (-F(v_i, k)): factors and biases."""
    n_classes = model.n_classes
    left = torch.zeros_like(pull)
    of_classes = pull.new_empty(n_classes, pull.shape[1])
    for k, (u, a) in enumerate(
        zip(model.class_weight.mT, coefficients.mT, strict=True)
    ):
        mean = (pull + u).sigmoid_()
        torch.mv(mean.mT, a, out=of_classes[k])
        left.addcmul_(mean, a[:, None])
    hidden = left.sum(0)
    visible = torch.cat([coefficients.sum(1) @ v, coefficients.sum(0)])
    right = torch.cat([v, v.new_zeros(len(v), n_classes)], 1)
    class_rows = torch.eye(n_classes, len(visible)).roll(v.shape[1], 1).to(v)
    return (
        torch.cat([left, of_classes]),
        torch.cat([right, class_rows]),
        hidden,
        visible,
    )
