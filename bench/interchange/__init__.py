"""Results of other tools into a run folder, a run folder into their formats, two runs side by side.

import_files(files, out, profile, wanted)   a run folder that is judged and reported like our own
export(run, form)                           nccl-tests tables, CSV, JUnit XML, Prometheus, Grafana, GitHub
compare_runs(a, b, anyway)                  ratios with their confidence; refuses unlike runs
"""

from .comparing import compare_runs
from .exporting import FORMATS, export
from .importing import LAUNCHER, ImportedFolder, Wanted, import_files

__all__ = [
    "FORMATS",
    "LAUNCHER",
    "ImportedFolder",
    "Wanted",
    "compare_runs",
    "export",
    "import_files",
]
