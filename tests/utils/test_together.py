"""Calls that are made side by side."""

import threading
import warnings

import pytest

from skebm.utils._together import Call, Team, in_team, shared, together


def run(functions, size=8):
    team = Team(size)
    calls = [team.add(Call(function)) for function in functions]
    team.run()
    return calls


def test_like_tasks_are_done_at_once_and_others_apart():
    done = []

    def work(tasks):
        done.append(list(tasks))
        return [10 * task for task in tasks]

    def call(k):
        return lambda: [together(work, k % 2, k), together(work, "all", k)]

    calls = run([call(k) for k in range(4)])
    assert [c.result() for c in calls] == [[10 * k, 10 * k] for k in range(4)]
    assert done == [[0, 2], [1, 3], [0, 1, 2, 3]]
    assert together(work, "all", 7) == 70
    assert not in_team()


def test_one_thread_runs_at_a_time():
    running, most = [], []

    def call():
        for _ in range(3):
            running.append(1)
            most.append(len(running))
            running.pop()
            together(lambda tasks: tasks, 0, None)

    run([call] * 5)
    assert set(most) == {1}
    assert threading.active_count() < 5 + threading.active_count()


def test_calls_of_other_lengths_do_not_wait_for_those_that_ended():
    def work(tasks):
        sizes.append(len(tasks))
        return tasks

    def call(n):
        return lambda: [together(work, "w", k) for k in range(n)]

    sizes = []
    calls = run([call(n) for n in (1, 3, 2)])
    assert [c.result() for c in calls] == [[0], [0, 1, 2], [0, 1]]
    assert sizes == [3, 2, 1]
    sizes.clear()
    run([call(2)] * 4, size=2)
    assert max(sizes) == 2


def test_an_error_of_one_call_is_its_own():
    def bad():
        raise ValueError("no")

    calls = run([bad, lambda: 1])
    assert calls[1].result() == 1
    with pytest.raises(ValueError, match="no"):
        calls[0].result()


def test_an_error_of_shared_work_reaches_all_who_asked():
    def work(tasks):
        raise KeyboardInterrupt

    def call():
        try:
            together(work, 0, 0)
        except KeyboardInterrupt:
            return "stopped"
        return "went on"

    assert [c.result() for c in run([call, call])] == ["stopped"] * 2


def test_what_is_shared_is_computed_once():
    made = []

    def compute():
        made.append(1)
        return object()

    calls = run([lambda: shared("a", compute)] * 3)
    assert len(made) == 1
    assert len({id(call.result()) for call in calls}) == 1
    run([lambda: shared(None, compute)] * 2)
    shared("a", compute)
    assert len(made) == 4


def test_filters_of_warnings_stay_with_their_call():
    def call(action):
        def made():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter(action)
                together(lambda tasks: tasks, 0, 0)
                warnings.warn("here", UserWarning, stacklevel=1)
                together(lambda tasks: tasks, 0, 0)
            return len(caught)

        return made

    before = list(warnings.filters), warnings.showwarning
    calls = run([call("always"), call("ignore"), call("always")])
    assert [c.result() for c in calls] == [1, 0, 1]
    assert (list(warnings.filters), warnings.showwarning) == before


class Odd(Exception):
    """An error that cannot be made anew from what it keeps."""

    def __init__(self, what, more):
        super().__init__(what)


@pytest.mark.parametrize("error", [Odd("a", "b"), ValueError("a")])
def test_each_call_raises_what_their_work_raised(error):
    def work(tasks):
        raise error

    calls = run([lambda: together(work, 0, None)] * 2)
    for call in calls:
        assert call.ended
        with pytest.raises(type(error), match="a"):
            call.result()
