"""``railgauge watch`` beside a job that is not RailGauge's: the rail that holds it up is named, and nothing else."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from netlab import acceptance
from netlab import lab as labs
from netlab.naming import blamed, complaint, told
from netlab.plan import Lab, address

JOB = Path(__file__).with_name("job.py")
MINUTES = 0.5
LONGER = 90.0  # s that the job goes on, so that it begins before the watch and ends after it


def watch(name: str, fault: str) -> int:
    """A lab of its own with ``fault`` planted ("": none), a job on it, a watch beside the job; the exit status."""
    lab = Lab(name)
    folder = Path(tempfile.mkdtemp(prefix="railgauge-lab-"))
    out, profile = folder / "watch", folder / "lab.toml"
    profile.write_text(acceptance.profile(lab))
    own = ["watch", "--profile", str(profile), "--minutes", f"{MINUTES:g}", "--out", str(out)]
    job = [sys.executable, str(JOB), address("n0", 0), str(lab.rails), f"{LONGER:g}"]
    with labs.of_its_own(lab):
        if fault:
            labs.fault_line(lab.name, fault)
        with acceptance.started(lab, ["mpirun", str(lab.rails), "-x", "PYTHONPATH", "--", *job]):
            outcome = acceptance.run(lab, out, own, acceptance.How())
    # a watch says which port the job waits for, not in which direction, and sets nobody aside
    wrong = complaint(re.sub("^slow-[rt]x", "slow-rail", fault), outcome, stops=True)
    print(f"blamed: {told(blamed(outcome.verdicts))}")
    print(
        f"{'NOT OK' if wrong else 'ok'}: watch beside a job, {fault or 'healthy'}{': ' if wrong else ''}{wrong}"
    )
    print(f"run folder and report: {out}")
    return 1 if wrong else 0
