"""The one tree of mistakes that a person can mend; anything else that is raised is a fault of RailGauge.

RailGaugeError          3  one line says what is wrong and what is known; ``exit_status`` is how the command ends
├── UnitError           2  a text that is no size, rate or time
├── UnknownName         2  a collective, type or reduction that no table has
├── BoundError          3  a collective and algorithm without a bound, or a fabric that cannot be
├── DeviceError         2  a text that names no device
├── ProfileError        2  a profile that cannot be used
├── PlanError           2  nothing can be planned from the options
├── ImportRefused       2  a result of another tool that cannot become measurements
├── NotComparable       2  two runs without a common case
│   └── UnlikeRuns      2  two runs of different plans or machines
├── BadAddress          2  an address that nothing may be sent to
├── CannotAct           3  a scheduler that does not answer, or a name that it must not be given
├── NotSent             3  a message that a webhook did not take
├── LaunchError         3  the job cannot be started, or its variables contradict each other
│   └── HostsError      2  a host list that cannot be read
├── CannotRun           3  nothing can be measured on this machine
│   └── NotHere         2  it lacks each device of the profile, or the interface named
├── TookTooLong         3  a gate whose time is up
├── Failed              3  a process of ours that ended without an answer (or as what it raised)
├── NoAddress           3  no address of the first node is reached by all the others
├── NoToken             3  no usable token
├── NotMet              3  the supervisors did not meet
├── UnknownToolOutput   3  the output of an InfiniBand tool that its parser does not know
├── Misfit              3  a line of a run folder that is not what it should be
├── RunError            3  a run folder that cannot be used (2 where another argument would do)
├── ResumeRefused       3  a run that cannot be resumed here
│   └── OtherRun        2  a run that cannot be resumed anywhere
├── NoRuptures          3  ruptures, which finds change points, is not installed
└── HistoryError        3  a history that cannot be read or written
    ├── MissingLibrary  3  a package of railgauge[nightly] is not installed
    ├── AlreadyThere    3  a run that was recorded before
    └── WrongPlace      2  a folder that is no history
"""

from __future__ import annotations

import sys

EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
"""Exit statuses besides 0 PASS and 1 FAIL: wrong usage; nothing can be concluded about the cluster."""
EXIT_HELP = (
    "Exit status: 0 PASS, 1 FAIL, 2 wrong usage, 3 INCONCLUSIVE (also when nothing was judged). "
    "One FAIL makes the whole run FAIL; otherwise one INCONCLUSIVE makes it INCONCLUSIVE."
)


class RailGaugeError(Exception):
    """A mistake that a person can mend; the message is one line."""

    exit_status = EXIT_INCONCLUSIVE


def exit_status(error: BaseException) -> int:
    """How a command ends by ``error``; a fault of RailGauge is no verdict on the cluster."""
    return error.exit_status if isinstance(error, RailGaugeError) else EXIT_INCONCLUSIVE


def broken_installation(error: Exception) -> str:
    """The message where a library cannot be loaded; it is no verdict on the cluster."""
    return f"cannot start ({type(error).__name__}: {error}): is {sys.prefix} whole? install it again"
