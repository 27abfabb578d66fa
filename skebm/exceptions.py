"""Errors and warnings that skebm raises by itself."""


class SkebmError(Exception):
    """Root of the errors that skebm raises by itself."""


class DivergenceError(SkebmError, ArithmeticError):
    """Training left the finite world and could not be brought back.

    The message holds the epoch, the figures that went wrong and what to change.
    """


class NonFiniteChainError(SkebmError, ArithmeticError):
    """A Markov chain went to where the energy is not finite.

    The message holds how many chains did, the step size and what to change.
    """


class SkebmWarning(UserWarning):
    """Root of the warnings that skebm issues by itself."""


class NormalizerWarning(SkebmWarning):
    """The estimate of the log normaliser can't be trusted, is missing or is stale."""


class TrainingWarning(SkebmWarning):
    """Training was interrupted, rolled back or ended without improvement."""


class RangeWarning(SkebmWarning):
    """Values lie outside of the range that a model is made for."""
