"""Calls that are made side by side, and compute together what is alike in them.

Each call runs in a thread of its own, and one thread runs at a time. Where a call comes
to work that others do as well (`together`), it waits until all others wait or have
ended; then work that is alike is done at once, and each call goes on with its part.
Outside of a team nothing waits, and the same work is done for one call.
"""

from __future__ import annotations

import copy
import ctypes
import threading
import warnings
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextvars import ContextVar, copy_context
from typing import Any

Work = Callable[[Sequence[Any]], Sequence[Any]]

_CALL: ContextVar[Call | None] = ContextVar("skebm_call", default=None)


def together(work: Work, likeness: Hashable | None, task: Any) -> Any:
    """Return ``work([task])[0]``, computed with the like tasks of other calls, if any.

    Parameters
    ----------
    work : callable
        Takes a list of tasks and returns a list of results.
    likeness : hashable or None
        Tasks of one likeness are given to ``work`` in one list; None goes alone.
    task : object
        What this call needs done.
    """
    call = _CALL.get()
    if call is None or likeness is None:
        return work([task])[0]
    return call.ask(work, likeness, task)


def shared(key: Hashable | None, compute: Callable[[], Any]) -> Any:
    """Return ``compute()``, computed once for all calls of a team that ask by a key.

    None is no key. What is returned must not be changed.
    """
    call = _CALL.get()
    if call is None or key is None:
        return compute()
    known = call.team.known
    if key not in known:
        while len(known) >= MAX_KNOWN:
            del known[next(iter(known))]
        known[key] = compute()
    return known[key]


def in_team() -> bool:
    """Tell whether this call is made beside others."""
    return _CALL.get() is not None


#: Results that a team keeps.
MAX_KNOWN = 32


class Call:
    """A call of a team: a function, and in the end what it returned or raised.

    Parameters
    ----------
    function : callable
        Takes no arguments.
    callback : callable or None, default=None
        Called with this once the call has ended.

    Attributes
    ----------
    ended : bool
        Whether the function has returned or raised.
    """

    def __init__(
        self,
        function: Callable[[], Any],
        callback: Callable[[Any], Any] | None = None,
    ) -> None:
        self.function, self.callback = function, callback
        self.ended = False
        self.request: tuple[Work, Hashable, Any] | None = None
        self.team: Team
        self._answer: Any = None
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._may_run, self._waits = threading.Semaphore(0), threading.Semaphore(0)
        self._warnings = _warning_state()

    def result(self) -> Any:
        """Return what the function returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._answer

    @property
    def outcome(self) -> tuple[Any, BaseException | None]:
        """What the function returned, and what it raised instead."""
        return self._answer, self._error

    def end(self, answer: Any, error: BaseException | None) -> None:
        """Take the outcome of the function, which was called elsewhere."""
        self._answer, self._error, self.ended = answer, error, True

    # ----------------------------------------------------- called by the team

    def run(self, answer: Any = None, error: BaseException | None = None) -> None:
        """Let the thread run until it asks for something or ends."""
        self._answer, self._error, self.request = answer, error, None
        outer = _warning_state()
        _set_warning_state(self._warnings)
        try:
            if self._thread is None:
                run = copy_context().run
                self._thread = threading.Thread(target=run, args=(self._main,))
                self._thread.daemon = True
                self._thread.start()
            else:
                self._may_run.release()
            self._wait()
        finally:
            self._warnings = _warning_state()
            _set_warning_state(outer)

    def _wait(self) -> None:
        """Wait for the thread; hand an interrupt on to it."""
        while True:
            try:
                self._waits.acquire()
                break
            except KeyboardInterrupt:
                assert self._thread is not None
                identity = ctypes.c_ulong(self._thread.ident or 0)
                error = ctypes.py_object(KeyboardInterrupt)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, error)

    # --------------------------------------------------- called by the thread

    def ask(self, work: Work, likeness: Hashable, task: Any) -> Any:
        """Wait for the team's result for a task."""
        self.request = work, likeness, task
        self._waits.release()
        self._may_run.acquire()
        if self._error is not None:
            raise self._error
        return self._answer

    def _main(self) -> None:
        _CALL.set(self)
        answer, error = None, None
        try:
            answer = self.function()
        except BaseException as raised:
            error = raised
        self.end(answer, error)
        self._waits.release()


class Team:
    """Calls that are made side by side.

    Parameters
    ----------
    size : int
        Most calls that have begun and not ended.

    Attributes
    ----------
    waiting : deque of Call
        Calls that have not begun; callbacks may add some.
    known : dict
        What calls have computed for each other; see `shared`.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.waiting: deque[Call] = deque()
        self.known: dict[Hashable, Any] = {}

    def add(self, call: Call) -> Call:
        """Add a call to those that have not begun; return it."""
        call.team = self
        self.waiting.append(call)
        return call

    def run(self) -> None:
        """Make all calls; each ends with a result or an error."""
        try:
            self._run()
        finally:
            self.known.clear()

    def _run(self) -> None:
        begun: list[Call] = []
        while begun or self.waiting:
            while self.waiting and len(begun) < self.size:
                call = self.waiting.popleft()
                call.run()
                if not call.ended:
                    begun.append(call)
                elif call.callback is not None:
                    call.callback(call)
            for alike in _grouped(begun):
                self._answer(alike)
            for call in [call for call in begun if call.ended]:
                begun.remove(call)
                if call.callback is not None:
                    call.callback(call)

    def _answer(self, calls: list[Call]) -> None:
        """Do the work that some calls ask for; let each go on."""
        requests = [call.request for call in calls if call.request is not None]
        work = requests[0][0]
        try:
            answers = work([task for _, _, task in requests])
        except BaseException as error:
            for call in calls:
                call.run(error=_copied(error))
            return
        for call, answer in zip(calls, answers, strict=True):
            call.run(answer)


def _copied(error: BaseException) -> BaseException:
    """Return an error like another, with its cause, for one more thread to raise."""
    try:
        copied = copy.copy(error)
    except Exception:  # a constructor that takes something else than it keeps
        return error
    copied.__cause__ = error
    return copied


def _grouped(calls: Sequence[Call]) -> list[list[Call]]:
    """Return the calls that ask for one kind of work, in their order."""
    groups: dict[Hashable, list[Call]] = {}
    for call in calls:
        assert call.request is not None
        groups.setdefault(call.request[:2], []).append(call)
    return list(groups.values())


def _warning_state() -> tuple[Any, ...]:
    """Return how warnings are filtered and shown, which is global."""
    return warnings.filters, warnings.showwarning, getattr(warnings, _SHOW, None)


def _set_warning_state(state: tuple[Any, ...]) -> None:
    warnings.filters, warnings.showwarning = state[:2]
    if state[2] is not None:
        setattr(warnings, _SHOW, state[2])
    with warnings.catch_warnings():
        pass  # the registries of warnings that were shown are out of date


#: Where `warnings.catch_warnings` records.
_SHOW = "_showwarnmsg_impl"
