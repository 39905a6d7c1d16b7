"""Questions that many ask of the same evidence are answered once.

What a run folder holds does not change once it is read: facts, cases, measurements, a profile are frozen, and what
follows from them follows again. ``once`` keeps an answer for the very objects that it was asked about, not for equal
ones: comparing the measurements of 64 nodes would take as long as the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def once(
    most: int = 1, of: Callable[..., tuple[object, ...]] | None = None
) -> Callable[[Callable[Given, Answer]], Callable[Given, Answer]]:
    """A function that is asked once about the same objects, in the same places; keywords are not for it.

    It must be pure, and nothing that it is asked about may change. ``most`` answers are kept, with what they are
    about, so that no other object can have its identity meanwhile; one more, and all are let go.
    ``of`` says of what is given on which objects the answer depends; all of it by default.
    """

    def keep(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
        known: dict[tuple[int, ...], tuple[object, Answer]] = {}

        @wraps(function)
        def ask(*given: Given.args, **named: Given.kwargs) -> Answer:
            if named:
                raise TypeError(f"{function.__name__} is asked by place, not by name")
            about = of(*given) if of else given
            key = tuple(map(id, about))
            found = known.get(key)
            if found is None:
                answer = function(*given, **named)
                if len(known) >= most:
                    known.clear()
                known[key] = found = (about, answer)
            return found[1]

        return ask

    return keep
