"""Errors and warnings that skebm raises by itself."""


class SkebmError(Exception):
    """Root of the errors that skebm raises by itself."""


class DivergenceError(SkebmError, ArithmeticError):
    """Training diverged and could not be brought back.

    The message holds the epoch, the metrics that left their range, and what to change.
    """


class NonFiniteChainError(SkebmError, ArithmeticError):
    """A Markov chain went to where the energy is not finite.

    Parameters
    ----------
    problem : str
        How many chains did, with which step size.
    remedy : str
        What to change.
    """

    def __init__(self, problem: str, remedy: str = "Take a smaller step_size.") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}. {self.remedy}"


class DistributedError(SkebmError, RuntimeError):
    """The processes of one fit lost touch: one ended, stalled or went another way."""


class SkebmWarning(UserWarning):
    """Root of the warnings that skebm issues by itself."""


class NormalizerWarning(SkebmWarning):
    """The estimate of the log normaliser can't be trusted or is missing."""


class TrainingWarning(SkebmWarning):
    """Training was interrupted, rolled back or ended without improvement."""


class CalibrationWarning(SkebmWarning):
    """There are too few calibration rows for the share of outliers asked for."""


class RangeWarning(SkebmWarning):
    """Values lie outside of the range that a model is made for."""


class DataWarning(SkebmWarning):
    """A table or y holds values that may not mean what they seem to."""
