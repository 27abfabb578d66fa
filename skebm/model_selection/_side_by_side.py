"""Fits that scikit-learn makes one by one, made side by side."""

from __future__ import annotations

from itertools import pairwise

from joblib import Parallel, cpu_count, delayed
from joblib.parallel import ParallelBackendBase, SequentialBackend

from skebm.utils._together import Call, Team


class SideBySide(ParallelBackendBase):
    """Backend of joblib whose calls compute together, in one or a few processes.

    See `skebm.utils._together`. Calls are made when the first result is asked for.

    Parameters
    ----------
    size : int, default=128
        Most calls that are in progress at a time, in each process.
    n_processes : int or None, default=None
        Number of processes; None takes this one alone, and -1 as many as there are
        processors.
    """

    supports_retrieve_callback = False
    #: Joblib's backend of the processes.
    processes = "loky"

    def __init__(self, size=128, n_processes=None, **options):
        super().__init__(**options)
        self.size, self.n_processes = size, n_processes or 1
        if self.n_processes < 0:
            self.n_processes = max(1, cpu_count() + 1 + self.n_processes)
        self.team = Team(size)

    def effective_n_jobs(self, n_jobs):
        """Return the number of calls at a time, whatever the number of processes."""
        return max(2, self.size * self.n_processes)

    def submit(self, func, callback=None):
        """Return a call that is to be made."""
        return _Result(self, self.team.add(Call(func, callback)))

    def apply_async(self, func, callback=None):
        """Return a call that is to be made; the name in earlier versions of joblib."""
        return self.submit(func, callback)

    def abort_everything(self, ensure_ready=True):
        """Forget the calls that have not begun."""
        self.team.waiting.clear()

    def get_nested_backend(self):
        """Return the backend inside of calls: one call after the other."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    def run(self):
        """Make all calls that wait."""
        n = min(self.n_processes, len(self.team.waiting))
        if n <= 1:
            self.team.run()
            return
        calls = list(self.team.waiting)
        self.team.waiting.clear()
        ends = [len(calls) * k // n for k in range(n + 1)]
        parts = [calls[a:b] for a, b in pairwise(ends)]
        made = Parallel(n_jobs=n, backend=self.processes)(
            delayed(_made)([call.function for call in part], self.size)
            for part in parts
        )
        outcomes = [outcome for part in made for outcome in part]
        for call, outcome in zip(calls, outcomes, strict=True):
            call.end(*outcome)
            if call.callback is not None:
                call.callback(call)


class _Result:
    """The result of a call; asking for it makes all calls that wait."""

    def __init__(self, backend, call):
        self.backend, self.call = backend, call

    def get(self, timeout=None):
        """Return the result of the call, or raise its error."""
        if not self.call.ended:
            self.backend.run()
        return self.call.result()


def _made(functions, size):
    """Return what each function returned, and what it raised, made side by side."""
    team = Team(size)
    calls = [team.add(Call(function)) for function in functions]
    team.run()
    return [call.outcome for call in calls]
