"""A second try with a coarser reference, where the first leaves nothing to learn."""

from __future__ import annotations

#: Columns up to which a net makes up for what a coarser mixture leaves out.
MAX_COLUMNS = 4
#: Held-out gain over the fine mixture, in nats, that says that there was a signal.
PLAIN_GAIN = 0.01


class CoarserReferenceMixin:
    """Trains anew from a coarser mixture where tilting the "gmm" brought nothing.

    What a fine mixture gets wrong in few columns, as sharp edges, is too faint a signal
    to begin with. From a coarser one a net learns its features by what is plain to see,
    then those. It stays where it is better on the held-out rows by more than the
    standard error of the difference.
    """

    def _train(self, Z, codes, weight, train, held_out, options, rng, raw):
        given = Z, codes, weight, train, held_out, options, rng
        first = super()._train(*given, raw)
        if not self._wants_coarser(first, Z.shape[1]):
            return first
        rows = first.monitor.log_prob_unnormalized(self._run.served)
        before, recipe = self.__dict__.copy(), self._reference_recipe
        coarser = {"reference": recipe.coarser()}
        self._assemble(self._resolve_parts(1) | coarser, Z, train, weight, 1, rng)
        self._reference_recipe = recipe
        second = super()._train(*given, raw=(None, None))  # callbacks saw the first
        difference = second.monitor.log_prob_unnormalized(self._run.served) - rows
        doubt = second.monitor.standard_error(difference)
        if _log_likelihood(second) - _log_likelihood(first) > doubt:
            return second
        self.__dict__ = before
        first.interrupted = second.interrupted
        return first

    def _wants_coarser(self, trainer, n_features):
        return (
            isinstance(self.reference, str)
            and self._reference_recipe.coarser() is not None
            and n_features <= MAX_COLUMNS
            and not self.warm_start
            and not self._run.model.is_normalized
            and trainer.monitor is not None
            and not trainer.interrupted
            and _log_likelihood(trainer) < _untilted(trainer.monitor) + PLAIN_GAIN
        )


def _log_likelihood(trainer):
    return trainer.best.scores["log_likelihood"]


def _untilted(monitor):
    return float((monitor.weight * monitor.reference_score).sum())
