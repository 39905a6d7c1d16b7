"""Drift over nights: tonight against the accepted baseline, steps in a history, a node against its peers. Pure.

``judge`` and ``steps`` compare one series over time, ``peers`` the nodes of one night; ``wording`` words the findings.
"""

from bench.judge.drift.baseline import Baseline, DriftRules, Excess
from bench.judge.drift.judge_series import QUANTITIES, Label, SeriesFinding, attribute, judge
from bench.judge.drift.replay import Mark, replay
from bench.judge.drift.steps import LevelStep, NoRuptures, steps
from bench.judge.drift.wording import series_verdict
from bench.store.history.nights import (
    Acceptance,
    Fingerprint,
    NightValue,
    Series,
    changed,
    fingerprint,
    usable,
)
