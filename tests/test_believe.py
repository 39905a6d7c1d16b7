"""A launcher's exit status is never taken for the run's: Open MPI 5 ends with 0 when its daemon on a node dies."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import runs
from bench.commands.job import _believe
from bench.model import EXIT, Status
from bench.options import CannotRun, Options
from bench.settle import settle


@dataclass
class Quiet:
    """A terminal that keeps what it is told."""

    told: list[Any] = field(default_factory=list)

    def finished(self, run: Any) -> None:
        self.told.append(run)


def options(out: Path) -> Options:
    return Options(profile=runs.LOCAL, out=out, command=())


@pytest.mark.parametrize("returned", [0, 1, 137])
def test_a_run_without_its_completion_record_could_not_tell_whatever_mpirun_says(tmp_path, returned):
    runs.folder(tmp_path / "run", end=False)
    quiet = Quiet()
    assert _believe(returned, options(tmp_path / "run"), quiet) == EXIT[Status.ERROR]
    (judged,) = quiet.told
    assert [v.status for v in judged.verdicts if v.check == "coverage.end"] == [Status.ERROR]


@pytest.mark.parametrize("returned", [0, 1, 137])
def test_a_run_that_completed_says_its_own_word_whatever_mpirun_says(tmp_path, returned):
    runs.folder(tmp_path / "run")
    said = settle(tmp_path / "run", runs.LOCAL)
    worst = {verdict.status for verdict in said.verdicts}
    expected = next(s for s in (Status.FAIL, Status.ERROR, Status.PASS) if s in worst)
    assert _believe(returned, options(tmp_path / "run"), Quiet()) == EXIT[expected]


@pytest.mark.parametrize("returned", [0, 1, 137])
def test_a_launcher_that_ended_well_before_anything_began_is_an_error(tmp_path, returned):
    with pytest.raises(CannotRun, match=f"mpirun ended with status {returned} before the run began"):
        _believe(returned, options(tmp_path / "nothing"), Quiet())
