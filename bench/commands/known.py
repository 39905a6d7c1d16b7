"""Mistakes that a person can mend, with their exit status; anything else is a fault of ours."""

from __future__ import annotations

from bench.address import NoAddress
from bench.elements import UnknownName
from bench.imports.imported import ImportRefused
from bench.launch import LaunchError
from bench.options import CannotRun
from bench.plan import PlanError
from bench.profile import ProfileError
from bench.store import RunError
from bench.units import UnitError

KNOWN: dict[type[Exception], int] = {
    ProfileError: 2,
    PlanError: 2,
    UnknownName: 2,
    UnitError: 2,
    RunError: 3,
    LaunchError: 3,
    CannotRun: 3,
    NoAddress: 3,
    ImportRefused: 2,
}
