"""How our Python is started so that it imports nothing from the current folder, where users keep a ``torch.py``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

RUN_MODULE = str(Path(__file__).with_name("run_module.py"))


def as_module(name: str) -> tuple[str, ...]:
    """The words behind ``python`` that run a module; torchrun and DeepSpeed's launcher take them too.

    PYTHONSAFEPATH, which every process of ours has, keeps the current folder out of ``-m``. Python 3.10 does not know
    it: there a file of ours runs the module.
    """
    return ("-m", name) if sys.version_info >= (3, 11) else (RUN_MODULE, name)


def console_script() -> tuple[str, ...]:
    """The words that start RailGauge with this Python, safe as a person pastes them: no variable protects those.

    The script that pip made, where this process was started by it; else a file of ours, which runs the module.
    """
    script = Path(sys.argv[0])
    try:
        with script.open("rb") as file:
            ours = script.name == "railgauge" and os.fsencode(sys.executable) in file.read(512)
    except OSError:
        ours = False
    return (str(script.absolute()),) if ours else (sys.executable, RUN_MODULE, "bench")
