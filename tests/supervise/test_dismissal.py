"""The end of a job: a star of paper in which somebody does not answer."""

from collections.abc import Iterator

from bench.supervise.control.tcp import Control
from bench.supervise.departures import dismiss
from bench.supervise.supervisor import Supervisor


class Paper:
    """Rank 0 of three. Rank 2 answers a quit, rank 1 when it ``answers``."""

    def __init__(self, answers: bool) -> None:
        self.rank, self.size, self.peers, self.answers = 0, 3, (1, 2), answers
        self.heard: list[tuple[int, dict[str, str]]] = []

    def send(self, to: int, message: dict[str, str]) -> None:
        assert message == {"do": "quit", "status": 2, "reason": "no"}
        if to == 2 or self.answers:
            self.heard.append((to, {"said": "bye"}))

    def receive(self) -> Iterator[tuple[int, dict[str, str]]]:
        while self.heard:
            yield self.heard.pop()


def test_a_job_whose_supervisors_all_answer_ends_in_order():
    assert dismiss(Paper(answers=True), 5.0, 2, "no")


def test_who_never_answers_is_not_waited_for():
    assert not dismiss(Paper(answers=False), 0.05, 2, "no")


def test_a_supervisor_ends_with_the_status_of_the_job_and_without_one_with_no_verdict():
    told, left = (Supervisor(Control(), lambda what: {}, {}) for _ in range(2))
    told.handle({"do": "quit", "status": 2, "reason": "rank 0 on n1: no"})
    assert (told.dismissed, told.status, told.reason) == (True, 2, "rank 0 on n1: no")
    left.handle({"do": "quit"})  # what the star says when rank 0 is gone
    assert (left.dismissed, left.status, left.reason) == (True, 3, "")
