"""Which class each line of a run folder is, by the file that it stands in and by its ``kind``."""

from __future__ import annotations

from bench.model.activity import ActivityLine
from bench.model.facts import Node
from bench.model.measurement import Measurement, Window
from bench.model.run_folder_lines import (
    CounterLine,
    FlightRecord,
    Hang,
    HealthLine,
    Joined,
    Loss,
    Note,
    PerftestSkipped,
    PerftestTool,
    PerftestTransfer,
    PhaseMark,
    RasReport,
    RunEnd,
    Torn,
)
from bench.model.titles import Titles

from .files import ACTIVITY, COUNTERS, FACTS, HEALTH, JOURNAL, MANIFEST, PLAN, TITLES, VERBS, VERDICTS
from .run import Manifest, Plan, Verdicts

READ: dict[str, type] = {
    "measurement": Measurement,
    "window": Window,
    "loss": Loss,
    "phase": PhaseMark,
    "joined": Joined,
    "note": Note,
    "torn": Torn,
    "end": RunEnd,
}
JOURNAL_KINDS = READ | {"hang": Hang, "flight": FlightRecord, "ras": RasReport}
PERFTEST_KINDS: dict[str, type] = {
    "tool": PerftestTool,
    "transfer": PerftestTransfer,
    "left": PerftestSkipped,
}
KIND = {line: kind for kinds in (JOURNAL_KINDS, PERFTEST_KINDS) for kind, line in kinds.items()}
"""Of a class of lines, the word that begins them."""

FILES: dict[str, type | dict[str, type]] = {
    MANIFEST: Manifest,
    FACTS: Node,
    PLAN: Plan,
    JOURNAL: JOURNAL_KINDS,
    COUNTERS: CounterLine,
    HEALTH: HealthLine,
    ACTIVITY: ActivityLine,
    VERBS: PERFTEST_KINDS,
    VERDICTS: Verdicts,
    TITLES: Titles,
}
"""What each file holds: one object, or one a line; by ``kind`` where its lines are of several."""
