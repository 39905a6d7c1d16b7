"""Compares the results of calls with the truth: before timing, in a sample of the timed blocks, and after timing.

What is timed is what is verified: after the clock stops, the results that the timed calls left are compared, and once
timing is over further calls go through the same launch (the replay of a CUDA graph, where that was timed) with
fresh data and poisoned receive buffers, so that a stale buffer or a launch that does nothing is seen.
"""

from __future__ import annotations

import math
import time

from bench.measure.backend.buffers import Buffers
from bench.measure.backend.correctness import POISON, Data
from bench.measure.backend.group import Group
from bench.measure.backend.spot_checks import Spots
from bench.measure.loop import Launch, Verify
from bench.model.collectives import BlockSource
from bench.model.late_dataclass import dataclass, replace
from bench.model.measurement import Mismatch

BLOCK_SHARE = 0.03  # of the time since timing began may go into comparing what timed blocks left
AFTER_SHARE = 0.06  # of the case's time may go into verifying calls after timing
LEAST_OF_QUICK = 64  # calls verified after timing in any case where one takes less than QUICK
QUICK = 1e-3  # seconds
MOST_AFTER = 128  # calls verified one by one after timing
DATA_SETS = 4  # that those calls use in turn


@dataclass
class Verifier(Verify):
    """The comparisons of one case on this rank.

    shared       whether the send and the receive buffer share memory
    accumulates  whether a call reduces into what the next one sends; ``start``: what it sends first (``cancelling``)
    made         calls launched so far; ``wrong`` elements among ``checked`` in ``verified`` calls; ``first``: the first
    """

    group: Group
    buffers: Buffers
    data: Data
    truth: tuple[BlockSource, ...]
    shared: bool
    accumulates: bool
    launch: Launch
    spots: Spots
    start: int = 0
    made: int = 0
    wrong: int = 0
    checked: int = 0
    verified: int = 0
    first: Mismatch | None = None
    _timed_data: int = 0
    _begun: float = 0.0
    _spent: float = 0.0
    _blocks: int = 0
    _blind: bool = False

    def call(self, number: int) -> None:
        """Launch call ``number`` of a block. This is inside the timed loop: nothing but the count is kept."""
        self.made += 1
        self.launch(number)

    def one(self, repetition: int) -> None:
        """One call on fresh data and a poisoned receive buffer, compared element by element."""
        which = repetition % len(self.buffers)
        if not self.made:
            self._blind = not self._sees_poison(which, repetition)
        self.buffers.recv[which].fill_(POISON)
        self.data.fill(self.buffers.send[which], self.group.place, repetition)
        self.group.together()
        self.call(which)
        self.group.clock.settle()
        self._compare(which, repetition, self.made - 1)

    def _sees_poison(self, which: int, repetition: int) -> bool:
        """Whether comparing finds a buffer wrong that no call has written: only then does it count as comparing.

        Of a few elements all may happen to be one poison; none is two.
        """
        received = self.buffers.recv[which]
        if not self.truth or not received.numel():
            return True
        found = (
            self.data.wrong(received.fill_(poison), self.truth, self.group.place, repetition)[0]
            for poison in (POISON, POISON + 1)
        )
        return any(found)

    def prepare_timing(self, repetition: int) -> None:
        """Lay the data that timed calls work on.

        A reduction in place takes its own result as the next input, which would grow without end: it gets what the
        first call makes zeros of. Every reduction keeps these, so that a wrong element of any call stays in the
        buffer until it is compared, and so does what a call that did nothing has left.
        """
        self._timed_data, self._begun, self._spent = repetition, time.perf_counter(), 0.0
        self.spots.choose(repetition)
        for at, send in enumerate(self.buffers.send):
            if self.accumulates:
                send.fill_(self.start)
            elif at == 0:
                self.data.fill(send, self.group.place, repetition)
            else:
                send.copy_(self.buffers.send[0])

    def lay(self, first: int, calls: int) -> None:
        for call in self._spotted(first, calls):
            self.spots.lay(call % len(self.buffers))

    def spot(self, first: int, calls: int) -> None:
        """Wrong elements count here too, but a call of which a few elements were compared is not a verified one."""
        for call in self._spotted(first, calls):
            once = calls <= len(self.buffers)
            count, mismatch = self.spots.compare(call % len(self.buffers), once=once)
            if not self._blind:
                self._count(count, mismatch, self.made - first - calls + call)

    def _spotted(self, first: int, calls: int) -> range:
        """The calls that are spot-checked: all where each has a buffer of its own, else the last, since more would take
        longer than the calls.
        """
        return range(first if calls <= len(self.buffers) else first + calls - 1, first + calls)

    def after_block(self, calls: int) -> None:
        """Compare what the calls of a timed block left; called with nothing in flight and no clock running."""
        written = range(min(calls, len(self.buffers)))
        begin = time.perf_counter()
        if self.truth and self._spent <= BLOCK_SHARE * (begin - self._begun):
            self._after_calls(calls, written)
            self.group.clock.settle()
            self._spent += time.perf_counter() - begin
        self._blocks += 1
        # on every rank at once, or the reduction of the next call is not 0: it does not depend on a rank's clock
        if self.accumulates and self._blocks & (self._blocks - 1) == 0:
            for which in written:
                self.buffers.send[which].fill_(self.start)
            self.group.clock.settle()

    def _after_calls(self, calls: int, written: range) -> None:
        """Compare the buffers that a block of calls has written, and make them such as the next block must write."""
        rotation = len(self.buffers)
        for which in written:
            last = which + (calls - 1 - which) // rotation * rotation  # of the calls into this buffer
            self._compare(which, self._timed_data, self.made - calls + last, zeros=self.accumulates)
            if not self.accumulates:
                self.buffers.recv[which].fill_(POISON)
            if self.shared and not self.accumulates:
                self.data.fill(self.buffers.send[which], self.group.place, self._timed_data)

    def after_timing(self, repetition: int, seconds: float) -> None:
        """Verify calls one by one, one at least, for about AFTER_SHARE of ``seconds``.

        Every rank of the group makes as many. Their data take turns, so that each differs from the one before.
        """
        # the case lasted a little longer on one rank than on another: all take the longest
        allowed = AFTER_SHARE * max(row[0] for row in self.group.share([seconds]))
        done, batch, spent = 0, 1, 0.0
        while done < MOST_AFTER:
            begin = time.perf_counter()
            for _ in range(batch):
                self.one(repetition + done % DATA_SETS)
                done += 1
            lasted = max(row[0] for row in self.group.share([time.perf_counter() - begin]))
            spent += lasted
            batch = done
            few_and_quick = done < LEAST_OF_QUICK and lasted / done < QUICK
            if spent + 2 * lasted > allowed and not few_and_quick:
                return

    def _compare(self, which: int, repetition: int, call: int, *, zeros: bool = False) -> None:
        """Compare buffer ``which``, last written by ``call``, with the truth of this data or with zeros."""
        if not self.truth or self._blind:
            return
        received = self.buffers.recv[which]
        if zeros:
            count, mismatch = self.data.nonzero(received, self.group.place)
        else:
            count, mismatch = self.data.wrong(received, self.truth, self.group.place, repetition)
        self.verified += 1
        self.checked += received.numel()
        self._count(count, mismatch, call)

    def _count(self, count: int, mismatch: Mismatch | None, call: int) -> None:
        self.wrong += count
        if mismatch and self.first is None:
            self.first = replace(mismatch, repetition=call)

    def line(self) -> list[float]:
        """[wrong, checked, verified, made, whether a mismatch follows, its index, call, got, wanted]."""
        counts = [float(self.wrong), float(self.checked), float(self.verified), float(self.made)]
        if self.first is None:
            return [*counts, 0, 0, 0, 0, 0]
        got, wanted = (math.nan if value is None else value for value in (self.first.got, self.first.wanted))
        return [*counts, 1, self.first.index, self.first.repetition, got, wanted]


def mismatch_of(line: list[float], rank: int) -> Mismatch:
    """The first wrong element of ``rank``, from its ``Verifier.line``."""
    return Mismatch(rank=rank, index=int(line[5]), repetition=int(line[6]), got=line[7], wanted=line[8])
