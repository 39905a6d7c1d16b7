"""The run folder: the contract between measuring, judging and drawing.

    manifest.json    format, id, command, profile as used, versions, ranks, environment (allow-list)
    seal.json        whose folder it is: an HMAC over manifest and plan by a key of the user's
    facts.jsonl      one line a node: what the probes saw
    plan.json        phases, cases, what was refused for want of memory
    journal.jsonl    one line each, as it happens: measurements, losses, phases, notes, the end
    counters.jsonl   every port and interface, before and after each phase
    verbs.jsonl      what perftest said, one line a rail and direction
    health.jsonl     a line a rank and phase: its GPU during each case; in a soak its memory, and errors grown
    activity.jsonl   of a watch: what each device of each node carried, in spans of a second or more
    logs/            what workers and NCCL said
    history.json     of a nightly run: the nights before it, as the history told them
    SHA256SUMS       the digest of each file above, written when the run ends
    titles.json      what a person calls the cluster and its site
    verdicts.json    made from all of the above, and made again at will; so are the reports

Files are appended line by line and flushed to disk; a crash loses the line in flight and nothing else.

files       what they are called, and how one is written
run         a run in memory: manifest, plan, cases, what was seen and judged
recorder    writing one, line by line as it happens
read        reading one, whatever state a crash has left it in
owner_seal  whose folder it is
"""

from bench.model.run_folder_lines import Loss

from .files import (
    COUNTERS,
    FABRIC,
    FACTS,
    HEALTH,
    HISTORY,
    IMPORTED,
    JOURNAL,
    LOGS,
    MANIFEST,
    NOT_TRIED,
    PLAN,
    TITLES,
    UNWRITTEN,
    VERBS,
    VERDICTS,
    WIRING,
    RunError,
    free,
    not_written,
    read_file,
    sync,
    write_file,
    write_text,
)
from .read import judged_by, load, manifest_of
from .recorder import DRAWING_SECONDS, Recorder, held, save_history, save_verdicts
from .run import RESUMED, Manifest, Phase, Plan, Run, SetAside, Settings, TooLarge, of_facts
