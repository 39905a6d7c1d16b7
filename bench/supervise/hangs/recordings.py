"""What torch and NCCL recorded themselves of a job that stands still: whole into the journal, in a few words here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.measure.flight_recorder import behind
from bench.nccl.environment import effective
from bench.probe.environment import environment, home
from bench.store import Recorder
from bench.supervise.hangs import nccl_ras
from bench.supervise.hangs.rank_state import Seen


def flights(recorder: Recorder, phase: str, seen: Mapping[int, Seen]) -> str:
    """Which collective each rank entered last, by torch's flight recorder; "" where it tells nothing."""
    found = {rank: state.flight for rank, state in seen.items() if state.flight.last}
    for rank, flight in found.items():
        recorder.line("flight", phase=phase, rank=rank, **flight.to_json())
    text = behind(found, [rank for rank in seen if rank not in found])
    return f"torch's recorder: {text}" if text else ""


def asked_ras(recorder: Recorder, phase: str, environ: Mapping[str, str]) -> str:
    """What NCCL's RAS sees wrong, asked where a worker with this environment has it; "" where it tells nothing."""
    try:
        answer = nccl_ras.ask(seen_by_nccl(environ))
    except OSError as error:
        recorder.line("ras", phase=phase, text="", error=str(error))
        return ""
    recorder.line("ras", phase=phase, text=answer.text, **({"error": answer.cut} if answer.cut else {}))
    told = nccl_ras.parse(answer.text).told
    return f"NCCL's RAS: {told}" if told else ""


def seen_by_nccl(environ: Mapping[str, str]) -> dict[str, str]:
    """NCCL's variables as a worker of this machine has them: its environment, then NCCL's conf files."""
    folder = home()
    files = environment(Path("/"), environ, folder).files
    return {each.name: each.value for each in effective(environ, files, home=folder).settings}
