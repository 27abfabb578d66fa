"""Lines of progress, with the time left, for phases that take long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Whether phases report, in this thread or task.
_REPORTS: ContextVar[bool] = ContextVar("reports", default=False)
#: Seconds after which a phase is worth a line, and seconds between its lines.
LONG, BETWEEN = 1.0, 5.0


@contextmanager
def reporting(verbose: int | bool) -> Iterator[None]:
    """Let the phases inside print lines, if ``verbose`` is above zero."""
    token = _REPORTS.set(bool(verbose))
    try:
        yield
    finally:
        _REPORTS.reset(token)


class Phase:
    """A part of a fit that tells how far it is, if it takes over a second.

    Parameters
    ----------
    name : str
        What is done.
    n_steps : int, default=0
        Steps that it takes at most; 0 if that is not known.
    """

    def __init__(self, name: str, n_steps: int = 0) -> None:
        self.name, self.n_steps = name, n_steps
        self.started = time.perf_counter()
        self.next_line = self.started + LONG

    def done(self, n_done: int) -> None:
        """Print a line, at times, with the time left after so many steps."""
        if not _REPORTS.get() or not 0 < n_done < self.n_steps:
            return
        now = time.perf_counter()
        if now < self.next_line:
            return
        self.next_line = now + BETWEEN
        seconds = now - self.started
        left = seconds * (self.n_steps - n_done) / n_done
        print(
            f"{self.name}: {n_done} of {self.n_steps}, {seconds:.0f} seconds, "
            f"about {left:.0f} left",
            flush=True,
        )

    def end(self) -> None:
        """Print how long a long phase took."""
        seconds = time.perf_counter() - self.started
        if _REPORTS.get() and seconds >= LONG:
            print(f"{self.name}: {seconds:.1f} seconds", flush=True)


@contextmanager
def phase(name: str, n_steps: int = 0) -> Iterator[Phase]:
    """Report the block as a phase; see `Phase`."""
    reported = Phase(name, n_steps)
    yield reported
    reported.end()
