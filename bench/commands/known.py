"""Mistakes that a person can mend, with their exit status; anything else is a fault of ours."""

from __future__ import annotations

from bench.address import NoAddress
from bench.control.door import NotMet
from bench.control.token import NoToken
from bench.elements import UnknownName
from bench.history import HistoryError
from bench.imports.imported import ImportRefused
from bench.launch import LaunchError
from bench.options import CannotRun
from bench.plan import PlanError
from bench.profile import ProfileError
from bench.resume import ResumeRefused
from bench.store import RunError
from bench.units import UnitError
from bench.webhook import BadAddress

KNOWN: dict[type[Exception], int] = {
    ProfileError: 2,
    PlanError: 2,
    UnknownName: 2,
    UnitError: 2,
    RunError: 3,
    LaunchError: 3,
    CannotRun: 3,
    NoAddress: 3,
    NotMet: 3,
    ResumeRefused: 3,
    NoToken: 3,
    ImportRefused: 2,
    HistoryError: 3,
    BadAddress: 2,
}
