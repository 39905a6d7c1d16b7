"""Names and logs are data: whatever a host, an interface, a log line or a table says, it is shown and never run."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

import mpi_jobs
import programs
from bench.cli import charts, exchange, judging
from bench.cli.page import own_profile
from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge
from bench.model.printable import plain
from bench.store import COUNTERS, FACTS, JOURNAL, LOGS, MANIFEST, load
from reports.frames import frames
from reports.markdown import markdown
from reports.page import page

RECORDED = Path(__file__).parents[1] / "store" / "data" / "two-nodes"
CHROMIUM = programs.find("chromium")
MARK = "data-pwned"
RUN_IT = "document.documentElement.setAttribute('data-pwned','1')"
# one name that is HTML, a closing script, Markdown, a Vega expression, a shell command, a format string, a formula of
# a spreadsheet, and what a terminal obeys
HOSTILE = (
    f'</script><script>{RUN_IT}</script><img src=x onerror="{RUN_IT}">'
    f"'+datum.constructor.constructor(\"{RUN_IT}\")()+'"
    "|`*_[x](javascript:alert(1))![i](http://elsewhere/p.png)$(touch pwned)`touch pwned`;{0!r}%s%n"
    "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202egnp.exe\r\n=1+1 ../../x"
)
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def poisoned(value: Any, which: Any) -> Any:
    """Every text in a row for which ``which(key, text)`` holds gets the hostile name at its end."""
    if isinstance(value, dict):
        return {
            key: value_ + HOSTILE
            if isinstance(value_, str) and which(key, value_)
            else poisoned(value_, which)
            for key, value_ in value.items()
        }
    if isinstance(value, list):
        return [poisoned(item, which) for item in value]
    return value


def names_only(key: str, text: str) -> bool:
    """Node names, devices and interfaces: everywhere alike, so that rows still find each other."""
    return key in ("node", "device") or (key == "name" and not text.startswith("collectives"))


def rewrite(folder: Path, which: Any, files: tuple[str, ...]) -> None:
    for name in files:
        path = folder / name
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(poisoned(row, which)) + "\n" for row in rows))


def python_markdown(text: str) -> str:
    """As MkDocs reads it."""
    return str(
        importlib.import_module("markdown").markdown(text, extensions=["tables", "fenced_code", "attr_list"])
    )


def commonmark(text: str) -> str:
    """As MyST reads it."""
    return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """The hostile run, judged and with its report."""
    folder = make(tmp_path_factory.mktemp("hostile") / "run")
    assert judging.judge.callback(folder, None, True) in (1, 3)
    assert judging.report.callback(folder) in (1, 3)
    return folder


@pytest.fixture
def hostile_run(tmp_path) -> Path:
    """The hostile run, as it was measured."""
    return make(tmp_path / "run")


def make(folder: Path) -> Path:
    """A real run in which hosts, interfaces and versions are called what an attacker would call them."""
    shutil.copytree(RECORDED, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["ranks"] = poisoned(manifest["ranks"], names_only)
    manifest["environment"] = {
        rank: {**variables, "NCCL_IB_HCA": HOSTILE + os.fsdecode(b"\xff\xfe")}
        for rank, variables in manifest["environment"].items()
    }
    manifest["versions"] = poisoned(manifest["versions"], lambda *_: True)
    manifest["command"] += [HOSTILE]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    rewrite(folder, names_only, (FACTS, COUNTERS))
    line = {"kind": "loss", "time": 1.0, "case": "x", "reason": HOSTILE, "culprit": HOSTILE}
    with (folder / JOURNAL).open("a") as journal:
        journal.write(json.dumps(line) + "\n" + json.dumps({**line, "kind": "note", "text": HOSTILE}) + "\n")
    (folder / LOGS).mkdir()
    for rank in range(4):
        (folder / LOGS / f"collectives.{rank}.log").write_text(
            f"n0:1:1 [0] NCCL INFO NET/IB : Using [0]{HOSTILE}:1/IB ; OOB eth0{HOSTILE}:10.0.0.1<0>\n"
            f"n0:1:1 [0] NCCL WARN {HOSTILE}\n",
            errors="surrogateescape",
        )
    return folder


def checked(text: str) -> str:
    """A page's or a document's text, once nothing in it can be taken for markup of the hostile name."""
    assert "<img src=x" not in text.replace("\\<img", "")
    assert f"<script>{RUN_IT}" not in text.replace("\\<script", "")
    assert "\x1b" not in text and "\x9b" not in text
    return text


def test_a_run_of_hostile_names_is_judged_and_drawn(drawn):
    text = checked((drawn / "report.html").read_text())
    checked((drawn / "report.md").read_text())
    assert text.count("</script>") == 3
    assert "onerror" in text  # the name is there: as text
    assert [path.name for path in drawn.rglob("*pwned*")] == []


def test_a_page_of_hostile_names_loads_nothing_and_has_a_policy(drawn):
    text = (drawn / "report.html").read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    rules = unescape(policy[1])
    assert "default-src 'none'" in rules
    scripts = re.search(r"script-src ([^;]+)", rules)[1].split()
    assert scripts and all(source.startswith("'sha256-") for source in scripts)
    for needless in ("connect-src", "unsafe-eval", "http:", "https:", "*"):
        assert needless not in rules
    elements = Elements()
    elements.feed(text)
    tags = {tag for tag, _ in elements.seen}
    assert not tags & {"img", "iframe", "object", "embed", "base", "form", "video", "audio"}
    for tag, attributes in elements.seen:
        for name, value in attributes:
            assert not name.startswith("on"), (tag, name)
            assert name not in ("src", "srcset", "href") or value.startswith(("#", "data:")), (tag, value)


class Elements(HTMLParser):
    """Every element of a page with its attributes, as a browser would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[tuple[str, str]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, [(name, value or "") for name, value in attrs]))


@pytest.mark.parametrize("read", [python_markdown, commonmark])
def test_markdown_of_hostile_names_links_and_loads_nothing_from_elsewhere(drawn, tmp_path, read):
    assert (
        charts.charts.callback((str(drawn),), tmp_path, False, "", False, True, None, None, None, None) == 0
    )
    for path in (drawn / "report.md", *tmp_path.rglob("*.md")):
        found = Addresses()
        found.feed(read(path.read_text()))
        assert not [each for each in found.loaded if ":" in each or "//" in each], path
        assert "charts/node-totals.svg" in found.loaded or path.name != "report.md"


class Addresses(HTMLParser):
    """Everything that a page links to or loads."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        assert tag != "script"
        assert not [name for name, _ in attrs if name.startswith("on")]


def test_no_specification_takes_a_name_for_an_expression(drawn):
    specifications = sorted((drawn / "charts").glob("*.vl.json"))
    assert specifications
    for path in specifications:
        for place, text in expressions(json.loads(path.read_text())):
            assert "constructor" not in text, f"{path.name} {place}"


def expressions(value: Any, place: str = "") -> list[tuple[str, str]]:
    """Every text of a specification that Vega evaluates: filters, calculations, tests, expr and label expressions."""
    evaluated = ("filter", "calculate", "test", "expr", "labelExpr", "update", "init", "signal", "format")
    found = []
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("values", "datasets"):
                continue  # data: never evaluated
            if key in evaluated and isinstance(inner, str):
                found.append((f"{place}.{key}", inner))
            found += expressions(inner, f"{place}.{key}")
    if isinstance(value, list):
        for number, inner in enumerate(value):
            found += expressions(inner, f"{place}[{number}]")
    return found


@pytest.mark.needs("chromium")
def test_in_a_browser_no_hostile_name_runs(drawn, tmp_path):
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0",
        "--virtual-time-budget=20000", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (drawn / "report.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert 'data-ready="yes"' in done.stdout
    assert f'{MARK}="1"' not in done.stdout.partition("<body")[0]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert console == []


@pytest.mark.needs("chromium")
def test_the_browser_test_would_see_a_name_that_runs(tmp_path):
    trap = tmp_path / "open.html"
    trap.write_text(f"<!doctype html><html><body>{HOSTILE}</body></html>", errors="replace")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
               f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", trap.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert f'{MARK}="1"' in done.stdout.partition("<body")[0]


def test_facts_that_are_hostile_throughout_break_nothing(tmp_path, capsys):
    folder = Path(shutil.copytree(RECORDED, tmp_path / "run"))
    rewrite(folder, lambda *_: True, (FACTS,))
    assert judging.judge.callback(folder, None, True) in (1, 3)
    run = load(folder)
    profile = own_profile(folder)
    judged = judge(run, profile).run
    seen = frames(Evidence(judged, profile))
    checked(page(Evidence(judged, profile), seen, {}))
    checked(plain(markdown(Evidence(judged, profile), seen, ())))


def test_two_runs_of_hostile_names_are_compared(hostile_run, tmp_path, capsys):
    other = Path(shutil.copytree(hostile_run, tmp_path / "other"))
    told = json.loads((other / MANIFEST).read_text())
    (other / MANIFEST).write_text(json.dumps({**told, "started": told["started"] + 60}))
    assert judging.compare.callback([hostile_run, other], True) in (0, 1, 3)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "all_reduce.log",
            "# nThread 1 nGpus 1 minBytes 8 maxBytes 8 step: 2(factor) warmup iters: 5 iters: 20 agg iters: 1\n"
            f"#  Rank  0 Group  0 Pid  1 on {HOSTILE} device  0 [0x00] {HOSTILE}\n"
            "#  Rank  1 Group  0 Pid  2 on n1 device  0 [0x00] NVIDIA H100\n"
            "#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   "
            "busbw #wrong\n"
            "           8             2     float     sum      -1    20.00    0.00    0.00      0    20.00    0.00    "
            "0.00      0\n# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 0.1\n",
        ),
        (HOSTILE.replace("/", "-").replace("\n", "")[:80] + ".log", "nothing that anybody knows\n"),
    ],
)
def test_an_imported_table_of_hostile_names_is_data(tmp_path, name, text, capsys):
    file = tmp_path / name
    file.write_text(text, errors="surrogateescape")
    out = tmp_path / "run"
    try:
        exchange.import_.callback((file,), out, "local", "", "all_reduce", 2, 2, "", "auto", False)
    except Exception as error:  # refused: then with words, and with nothing left
        assert type(error).__module__.startswith("bench."), error
        return
    checked((out / "report.html").read_text())
    checked((out / "report.md").read_text())


def test_nothing_of_a_hostile_name_reaches_the_terminal_raw(hostile_run):
    for words in (
        ("judge", hostile_run, "--verbose"),
        ("export", hostile_run, "--format", "csv"),
        ("explain", HOSTILE, "--devices", "mlx5_0 mlx5_1"),
        ("judge", f"/nonexistent/{HOSTILE}"),
        ("accept", "--profile", HOSTILE),
    ):
        done = mpi_jobs.railgauge(*words)
        assert not OBEYED.search(done.stdout.replace("\n", "")), words
        assert not OBEYED.search(done.stderr.replace("\n", "")), words
        assert "Traceback" not in done.stderr


def test_hostile_sysfs_names_are_facts(tmp_path):
    """An interface and an HCA of hostile names, as the kernel would list them: no slash, no NUL."""
    name = HOSTILE.replace("/", "∕")[:200].encode()[:240].decode(errors="ignore")
    for folder in (f"sys/class/net/{name}", f"sys/class/infiniband/{name}/ports/1", "proc"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / f"sys/class/net/{name}/operstate").write_text("up\n")
    (tmp_path / f"sys/class/net/{name}/speed").write_text(f"{HOSTILE}\n")
    (tmp_path / f"sys/class/infiniband/{name}/ports/1/rate").write_text(f"{HOSTILE}\n")
    (tmp_path / f"sys/class/infiniband/{name}/ports/1/state").write_text("4: ACTIVE\n")
    done = mpi_jobs.railgauge("probe", "--root", tmp_path)
    assert done.returncode in (1, 3), done.stderr
    assert "Traceback" not in done.stderr
    assert not OBEYED.search((done.stdout + done.stderr).replace("\n", ""))


def test_no_shell_is_asked_for_anything():
    """Nowhere is a text handed to a shell; what is started is a list of words."""
    root = Path(__file__).parents[2]
    for path in sorted((root / "bench").rglob("*.py")) + sorted((root / "reports").rglob("*.py")):
        text = path.read_text()
        for word in ("shell=True", "os.system(", "os.popen(", " eval(", " exec(", "pickle"):
            if (
                word == "pickle" and path.name == "flight_recorder.py"
            ):  # torch 2.3 dumps in no other form; no name is looked up
                assert "raise pickle.UnpicklingError" in text and "pickle.load" not in text
                continue
            assert word not in text, f"{path.relative_to(root)}: {word}"


@pytest.mark.root
@pytest.mark.torch
def test_a_machine_that_is_called_so_is_measured_and_drawn(tmp_path):
    """The kernel takes any 64 bytes for a host's name."""
    code = (
        "import os, socket, sys\n"
        "socket.sethostname(b'x\\x1b[31m<img src=x onerror=alert(1)>\\xff$(id)|')\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'bench', *sys.argv[1:]])"
    )
    words = [
        "run",
        "all_reduce",
        "-b",
        "8",
        "-n",
        "2",
        "-w",
        "1",
        "--ranks",
        "1",
        "--out",
        str(tmp_path / "r"),
    ]
    done = subprocess.run(
        ["unshare", "--uts", sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        env=mpi_jobs.environment(),
        timeout=mpi_jobs.LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not OBEYED.search((done.stdout + done.stderr).replace("\n", ""))
    assert "&lt;img src=x" in checked((tmp_path / "r" / "report.html").read_text())
