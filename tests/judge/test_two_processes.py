import os
from collections.abc import Callable

from bench.judge.two_processes import in_two_processes

ORIGINAL = os.getpid()


def meeting(answer: Callable[[], object]) -> list[Callable[[], object]]:
    """Two questions of which each waits until the other is asked too, so that one process cannot answer both."""
    ends, met = (os.pipe(), os.pipe()), []

    def question(own: int) -> object:
        if not met:
            os.write(ends[own][1], b".")
            os.read(ends[1 - own][0], 1)
            met.append(True)
        return answer()

    return [lambda: question(0), lambda: question(1)]


def test_two_processes_answer_each_its_part_in_order():
    first, second, *rest = in_two_processes([*meeting(os.getpid), *(lambda n=n: n for n in range(300))])
    assert ORIGINAL in (first, second)
    assert first != second
    assert rest == list(range(300))


def test_what_the_copy_did_not_answer_is_asked_here():
    def dies_elsewhere() -> int:
        if os.getpid() != ORIGINAL:
            os._exit(9)
        return ORIGINAL

    assert in_two_processes(meeting(dies_elsewhere)) == [ORIGINAL, ORIGINAL]


def test_what_raises_in_the_copy_alone_is_asked_here():
    def raises_elsewhere() -> int:
        if os.getpid() != ORIGINAL:
            raise ValueError("in the copy alone")
        return ORIGINAL

    assert in_two_processes(meeting(raises_elsewhere)) == [ORIGINAL, ORIGINAL]


def test_one_processor_answers_alone(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.delattr(os, "fork")
    assert in_two_processes([os.getpid]) == [ORIGINAL]
