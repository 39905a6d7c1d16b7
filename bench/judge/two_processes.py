"""Asks questions in two processes: the checks of a large run take longer than reading it."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

Answer = TypeVar("Answer")
Question = Callable[[], Answer]


def in_turn(questions: Sequence[Question[Answer]]) -> list[Answer]:
    return [question() for question in questions]


def in_two_processes(questions: Sequence[Question[Answer]]) -> list[Answer]:
    """The answers, in order. This process and a copy of it each take the next question as soon as they are free.

    What the copy does not answer, because it was killed or a question raised, is asked here. Only for a process
    without other threads, and answers that can be pickled.
    """
    if (os.cpu_count() or 1) < 2:
        return in_turn(questions)
    queue, end = os.pipe()
    for place in range(len(questions)):
        os.write(end, place.to_bytes(2, "big"))  # both may read: two bytes are never torn apart
    os.close(end)
    answers, copy = _copy_answers(questions, queue)
    found = _answered(questions, queue)
    os.close(queue)
    with os.fdopen(answers, "rb") as file:
        text = file.read()
    if os.waitpid(copy, 0)[1] == 0:
        found |= pickle.loads(text)  # our own copy wrote it
    return [found[place] if place in found else ask() for place, ask in enumerate(questions)]


def _copy_answers(questions: Sequence[Question[Answer]], queue: int) -> tuple[int, int]:
    """Start the copy: where it will write its answers, and its process id."""
    answers, own_end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of numpy's threads, which the copy does not use
        copy = os.fork()
    if copy:
        os.close(own_end)
        return answers, copy
    status = 1
    try:
        with os.fdopen(own_end, "wb") as file:
            pickle.dump(_answered(questions, queue), file)
        status = 0
    finally:
        os._exit(status)


def _answered(questions: Sequence[Question[Answer]], queue: int) -> dict[int, Answer]:
    found = {}
    while place := os.read(queue, 2):
        number = int.from_bytes(place, "big")
        found[number] = questions[number]()
    return found
