"""What torch and NCCL recorded of a job that stands still: in full into the journal, in a few words for the message."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.model.run_folder_lines import FlightRecord, RasReport
from bench.nccl.environment import effective
from bench.probe.environment import environment, home
from bench.store import Recorder

from . import nccl_ras
from .rank_state import RankState
from .recorded_waits import describe_waits


def flights(recorder: Recorder, phase: str, states: Mapping[int, RankState]) -> str:
    """Which ranks have not entered the call that others wait in, by torch's flight recorder; "" where none waits.

    The record of a rank whose worker raised is kept and not believed: after an error of CUDA all its calls look open.
    """
    found = {rank: state.flight for rank, state in states.items() if state.flight.last}
    for rank, flight in found.items():
        recorder.add(FlightRecord(phase, rank, flight.last, flight.open))
    sound = {rank: flight for rank, flight in found.items() if not states[rank].failed}
    text = describe_waits(sound, [rank for rank in states if rank not in sound])
    return f"torch's recorder: {text}" if text else ""


def ras_findings(recorder: Recorder, phase: str, environ: Mapping[str, str]) -> str:
    """What NCCL's RAS reports as wrong, asked where a worker with this environment has it; "" where nothing is."""
    try:
        answer = nccl_ras.ask(nccl_settings(environ))
    except OSError as error:
        recorder.add(RasReport(phase, "", str(error)))
        return ""
    recorder.add(RasReport(phase, answer.text, answer.cut))
    text = nccl_ras.parse(answer.text).summary
    return f"NCCL's RAS: {text}" if text else ""


def nccl_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """NCCL's variables as a worker of this machine has them: its environment, then NCCL's conf files."""
    folder = home()
    files = environment(Path("/"), environ, folder).files
    return {each.name: each.value for each in effective(environ, files, home=folder).settings}
