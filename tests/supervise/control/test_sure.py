"""Messages over a star of paper that loses, repeats and shuffles what is sent."""

import random
from collections import deque
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.supervise.control.reliable import AGAIN_SECONDS, Sure


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Line:
    """One end of a bad line between two; ``lose`` says of each message whether it gets lost."""

    def __init__(self, rank: int, out: deque, into: deque, lose) -> None:
        self.rank, self.size = rank, 2
        self.out, self.into, self.lose = out, into, lose
        self.own: deque = deque()

    def send(self, to: int, message: dict) -> None:
        if to == self.rank:
            self.own.append(message)
        elif not self.lose():
            self.out.append(message)

    def receive(self) -> Iterator[tuple[int, dict]]:
        while self.own:
            yield self.rank, self.own.popleft()
        while self.into:
            yield 1 - self.rank, self.into.popleft()

    def flush(self, limit: float) -> bool:
        return True

    def close(self) -> None:
        return

    def abandon(self, status: int) -> None:
        return


def pair(lose, clock: Clock) -> tuple[Sure, Sure]:
    there, back = deque(), deque()
    return Sure(Line(0, there, back, lose), clock), Sure(Line(1, back, there, lose), clock)


def talk(left: Sure, right: Sure, clock: Clock, turns: int) -> tuple[list, list]:
    heard: tuple[list, list] = [], []
    for _ in range(turns):
        heard[0].extend(message["n"] for _, message in left.receive() if "n" in message)
        heard[1].extend(message["n"] for _, message in right.receive() if "n" in message)
        clock.now += AGAIN_SECONDS + 0.1
    return heard


@settings(max_examples=60)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 1 << 30))
def test_every_message_arrives_once_and_in_order_whatever_half_of_them_gets_lost(there, back, seed):
    chance = random.Random(seed)
    clock = Clock()
    left, right = pair(lambda: chance.random() < 0.5, clock)
    for n in range(there):
        left.send(1, {"n": n})
    for n in range(back):
        right.send(0, {"n": n})
    at_left, at_right = talk(left, right, clock, 400)
    assert at_right == list(range(there))
    assert at_left == list(range(back))


def test_a_good_line_repeats_nothing():
    clock, carried = Clock(), []
    left, right = pair(lambda: carried.append(1) or False, clock)
    for n in range(5):
        left.send(1, {"n": n})
    talk(left, right, clock, 5)
    assert len(carried) == 5 + 1  # and one answer to all of them


def test_a_heartbeat_is_never_repeated():
    clock, carried = Clock(), []
    left, right = pair(lambda: carried.append(1) or True, clock)
    left.send(1, {"said": "beat"})
    talk(left, right, clock, 5)
    assert len(carried) == 1


def test_a_message_to_oneself_arrives_as_it_is():
    clock = Clock()
    left, _ = pair(lambda: True, clock)
    left.send(0, {"n": 7})
    assert list(left.receive()) == [(0, {"n": 7})]


@pytest.mark.parametrize(("lost", "whole"), [(False, True), (True, False)])
def test_flush_says_whether_the_other_side_has_it_all(lost, whole):
    clock = Clock()
    left, right = pair(lambda: lost, clock)
    left.send(1, {"n": 1})
    list(right.receive())
    left._clock = iter(range(1000)).__next__  # every look at the clock is a second later
    assert left.flush(3) is whole
