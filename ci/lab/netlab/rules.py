"""When a table of the lab is well: the one second try of a busy machine, and the rows that it may be unable to show."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Row(Protocol):
    """``wrong`` says what is not as it must be; "" when all is."""

    @property
    def wrong(self) -> str: ...


Any_Row = TypeVar("Any_Row", bound=Row)


@dataclass(frozen=True)
class Rules:
    """``second_try``: a row that is not ok is tried again, alone. ``may_lack``: rows that need not be possible here."""

    second_try: bool = False
    may_lack: tuple[str, ...] = ()

    def tried_again(self, done: Sequence[Any_Row], again: Callable[[Any_Row], Any_Row]) -> list[Any_Row]:
        """The rows, the one that is not ok tried once more; where two are not, the table is red without a try."""
        wrong = [row for row in done if row.wrong]
        if not self.second_try or len(wrong) > 1:
            if self.second_try:
                print(
                    f"second tries: 0, since {len(wrong)} rows are not ok and one at most gets one",
                    flush=True,
                )
            return list(done)
        for row in wrong:
            print(f"second try of the one row that is not ok ({row.wrong}), alone:", flush=True)
        found = [again(row) if row.wrong else row for row in done]
        print(f"second tries: {len(wrong)}", flush=True)
        return found

    def exit_status(self, done: Sequence[Row], lacking: Collection[str]) -> int:
        """1: a row is wrong; 3: none was run, or one that must be possible is not; 0: all are right."""
        if any(row.wrong for row in done):
            return 1
        return 3 if not done or set(lacking) - set(self.may_lack) else 0


DEFAULT = Rules()
