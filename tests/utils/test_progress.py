import skebm.utils._progress as _progress
from skebm.utils import Phase, phase, reporting


class Clock:
    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


def test_a_long_phase_tells_the_time_left_at_times_and_its_length(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(_progress, "time", clock)
    with reporting(1), phase("training", 10) as told:
        for n_done in range(1, 11):
            clock.now += 2.0
            told.done(n_done)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "training: 1 of 10, 2 seconds, about 18 left",
        "training: 4 of 10, 8 seconds, about 12 left",
        "training: 7 of 10, 14 seconds, about 6 left",
        "training: 20.0 seconds",
    ]


def test_short_phases_and_those_that_nobody_asked_for_say_nothing(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(_progress, "time", clock)
    with reporting(2), phase("short", 2) as told:
        clock.now += 0.4
        told.done(1)
    with reporting(0), reporting(1), reporting(False), phase("long", 2) as told:
        clock.now += 40
        told.done(1)
    alone = Phase("outside", 2)
    clock.now += 40
    alone.done(1)
    alone.end()
    assert capsys.readouterr().out == ""
