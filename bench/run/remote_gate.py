"""The gate of another node, at level 3: whether a node that was kept out of work may come back."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

from bench.launch.python import as_module
from bench.launch.remote import SSH, here
from bench.model.typed_json import decode
from bench.model.verdict import Status

from .gate import GateAnswer

SECONDS = 180.0  # the limit of a gate at level 3, and what ssh and a busy machine need besides


def gate_of(node: str, neighbour: str, profile: str) -> GateAnswer:
    """What ``railgauge gate --level 3`` on ``node`` answers; INCONCLUSIVE where it does not."""
    begun = time.monotonic()
    file = Path(profile)
    gate = ["gate", "--profile", str(file.absolute()) if file.is_file() else profile]
    gate += ["--level", "3", "--neighbour", neighbour, "--json"]
    # the far shell begins in a home folder, where users keep a torch.py
    words = ["env", "PYTHONSAFEPATH=1", sys.executable, *as_module("bench"), *gate]
    there = words if here(node) else [*SSH, "--", node, shlex.join(words)]
    try:
        done = subprocess.run(
            there, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )
        answer = decode(GateAnswer, done.stdout)
        if (answer.level, answer.node) == (3, node):
            return answer
        why = f"the gate of {answer.node} answered"
    except subprocess.TimeoutExpired:
        why = f"no answer within {SECONDS:g} s"
    except FileNotFoundError:
        why = f"there is no {there[0]} here"
    except ValueError:
        said = done.stderr.decode("utf-8", "replace").split("\n")
        why = next((line for line in reversed(said) if line.strip()), f"exit status {done.returncode}")
    return GateAnswer(
        node=node,
        level=3,
        status=Status.INCONCLUSIVE,
        sentence=f"its gate could not be asked: {why}",
        profile=profile,
        seconds=time.monotonic() - begun,
    )
