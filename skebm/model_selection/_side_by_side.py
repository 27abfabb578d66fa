"""Fits that scikit-learn makes one by one, made side by side."""

from __future__ import annotations

from joblib.parallel import ParallelBackendBase, SequentialBackend

from skebm.utils._together import Call, Team


class SideBySide(ParallelBackendBase):
    """Backend of joblib whose calls run in one process, and compute together.

    See `skebm.utils._together`. Calls are made when the first result is asked for.

    Parameters
    ----------
    size : int, default=128
        Most calls that are in progress at a time.
    """

    supports_retrieve_callback = False

    def __init__(self, size=128, **options):
        super().__init__(**options)
        self.size = size
        self.team = Team(size)

    def effective_n_jobs(self, n_jobs):
        """Return the number of calls at a time, whatever the number of processes."""
        return max(2, self.size)

    def submit(self, func, callback=None):
        """Return a call that is to be made."""
        return _Result(self.team, func, callback)

    def apply_async(self, func, callback=None):
        """Return a call that is to be made; the name in earlier versions of joblib."""
        return self.submit(func, callback)

    def abort_everything(self, ensure_ready=True):
        """Forget the calls that have not begun."""
        self.team.waiting.clear()

    def get_nested_backend(self):
        """Return the backend inside of calls: one call after the other."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None


class _Result:
    """The result of a call; asking for it makes all calls that wait."""

    def __init__(self, team, func, callback):
        self.team, self.call = team, team.add(Call(func, callback))

    def get(self, timeout=None):
        """Return the result of the call, or raise its error."""
        if not self.call.ended:
            self.team.run()
        return self.call.result()
