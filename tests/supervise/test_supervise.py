"""The end of a job: a star of paper that loses messages."""

from collections.abc import Iterator

from bench.supervise.control.protocol import Alone
from bench.supervise.coordinator import dismiss
from bench.supervise.supervisor import Supervisor


class Lossy:
    """Rank 0 of three. The supervisors answer a quit, but the first ``lost`` messages to each get lost."""

    def __init__(self, lost: int) -> None:
        self.rank, self.size = 0, 3
        self.lost = {1: lost, 2: 0}
        self.answers: list[tuple[int, dict[str, str]]] = []

    def send(self, to: int, message: dict[str, str]) -> None:
        if self.lost[to] > 0:
            self.lost[to] -= 1
        elif message == {"do": "quit", "status": 2, "reason": "no"}:
            self.answers.append((to, {"said": "bye"}))

    def receive(self) -> Iterator[tuple[int, dict[str, str]]]:
        while self.answers:
            yield self.answers.pop()

    def flush(self, limit: float) -> bool:
        return True

    def close(self) -> None:
        return

    def abandon(self, status: int) -> None:
        return


def test_a_lost_message_does_not_keep_a_job_from_ending():
    assert dismiss(Lossy(lost=1), 5.0, 2, "no")


def test_who_never_answers_is_not_waited_for():
    assert not dismiss(Lossy(lost=1000), 0.05, 2, "no")


def test_a_supervisor_ends_with_the_status_of_the_job_and_without_one_with_no_verdict():
    told, left = (Supervisor(Alone(), lambda what: {}, {}) for _ in range(2))
    told.handle({"do": "quit", "status": 2, "reason": "rank 0 on n1: no"})
    assert (told.quit, told.status, told.reason) == (True, 2, "rank 0 on n1: no")
    left.handle({"do": "quit"})  # what the star says when rank 0 is gone
    assert (left.quit, left.status, left.reason) == (True, 3, "")
