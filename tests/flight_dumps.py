"""Dumps of torch's flight recorder; tests/measure/data/flight_recorder/README.md says what happened in each."""

from pathlib import Path

DUMPS = Path(__file__).parent / "measure/data/flight_recorder"


def dump(name: str) -> bytes:
    return (DUMPS / name).read_bytes()
