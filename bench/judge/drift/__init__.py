"""Drift over nights: tonight against the accepted baseline, steps in a history, one night's fleet. Pure.

``judge`` and ``steps`` look along time, ``fleet`` across it; ``verdicts`` words what they found.
"""

from bench.judge.drift.baseline import Baseline, DriftRules, Excess, baseline
from bench.judge.drift.judge import QUANTITIES, Label, SeriesFinding, attribute, judge
from bench.judge.drift.replay import Mark, replay
from bench.judge.drift.steps import LevelStep, NoRuptures, steps
from bench.judge.drift.wording import series_verdict
from bench.store.history.nights import Acceptance, Fingerprint, Night, Series, changed, fingerprint, usable
