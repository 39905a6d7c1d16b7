"""gpu-check runs the tests marked gpu on machines that lack what the others need. Real pytest, no GPU."""

import os
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "ci" / "gpu"))

import borrowed  # noqa: E402
import here as machine  # noqa: E402
import marked  # noqa: E402

from bench.model.facts import Node  # noqa: E402

HERE = {"torch": "2.11.0", "cuda": "13.0", "gpus": 1, "names": ["NVIDIA H200"], "nccl": "2.28.9"}
LACKING = ("click", "rich", "hypothesis", "mpi4py", "pandas", "altair", "duckdb", "pyarrow", "xdist")


def test_only_files_that_hold_the_mark_are_run(tmp_path):
    mark = ".".join(("pytest", "mark", "gpu"))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "test_one.py").write_text(f"@{mark}\ndef test_a(): ...\n")
    (tmp_path / "test_all.py").write_text(f"pytestmark = [\n    {mark},\n]\n")
    (tmp_path / "test_told.py").write_text(f"'a text that names {mark}'\n")
    (tmp_path / "test_none.py").write_text("import gpu\n")
    assert [path.name for path in marked.files(tmp_path)] == ["test_one.py", "test_all.py"]
    assert ROOT / "tests/measure/backend/test_gpu.py" in marked.files(ROOT / "tests")


@pytest.mark.parametrize(
    ("status", "out", "err", "wanted", "text"),
    [
        (0, "....\n35 passed, 1 skipped in 9.1s", "", machine.SEEN, "35 passed, 1 skipped in 9.1s"),
        (
            1,
            "F..\n=== 1 failed, 2 passed in 9.1s ===",
            "",
            machine.FAILED,
            "1 failed, 2 passed in 9.1s (pytest.log)",
        ),
        (1, "", "/usr/bin/python3: No module named pytest", machine.NOT_POSSIBLE, "no pytest"),
        (4, "", "ModuleNotFoundError: No module named 'numpy.core'", machine.NOT_POSSIBLE, "no numpy"),
        (2, "E   No module named 'click'\n1 error in 2.1s", "", machine.NOT_POSSIBLE, "no click"),
        (
            2,
            "E   No module named 'bench.gone'\n1 error in 2s",
            "",
            machine.FAILED,
            "1 error in 2s (pytest.log)",
        ),
        (1, "E  No module named 'x'\n1 failed in 2s", "", machine.FAILED, "1 failed in 2s (pytest.log)"),
        (
            0,
            "SKIPPED [9] tests/t.py:4: no GPU\n9 skipped in 1s",
            "",
            machine.NOT_POSSIBLE,
            "9 skipped in 1s; no GPU",
        ),
        (5, "9 deselected in 1s", "", machine.FAILED, "9 deselected in 1s (pytest.log)"),
        (2, "1 error in 2s", "", machine.FAILED, "1 error in 2s (pytest.log)"),
    ],
)
def test_what_pytest_says_is_seen_working_not_possible_or_failed(status, out, err, wanted, text):
    said = marked.judged(status, out, err)
    assert (said.status, said.text) == (wanted, text)


@pytest.mark.torch
def test_on_a_bare_machine_they_are_collected(tmp_path, monkeypatch):
    """Nothing of what other tests import is there."""
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU here, and gpu-check itself runs them")
    bare, out = tmp_path / "bare", tmp_path / "out"
    bare.mkdir()
    out.mkdir()
    for name in LACKING:
        (bare / f"{name}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')\n"
        )
    monkeypatch.setenv("PYTHONPATH", f"{bare}:{ROOT}")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    found = machine.Here(out, time.monotonic() + 500, Node("n0"), HERE, False, None)
    said = marked.tests(found)
    assert said.status == machine.NOT_POSSIBLE, (out / "pytest.log").read_text()
    assert "skipped" in said.text
    assert "torch sees no GPU here" in said.text


NOISY = """
import warnings
import pytest
warnings.warn("The pynvml package is deprecated", FutureWarning)
@pytest.mark.gpu
def test_works(): ...
def test_is_not_marked(): raise AssertionError
"""


def test_a_library_that_warns_while_it_is_imported_fails_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "test_noisy.py").write_text(NOISY)
    said = marked.run([tmp_path / "test_noisy.py"], tmp_path, 500)
    assert said.status == machine.SEEN, (tmp_path / "pytest.log").read_text()
    assert said.text.startswith("1 passed, 1 deselected, 1 warning")


def test_pips_own_reader_of_toml_stands_in_on_python_3_10(monkeypatch):
    lent = type(os)("tomli")
    monkeypatch.setattr(borrowed.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "tomli", None)
    monkeypatch.setitem(sys.modules, borrowed.LENDERS[0], lent)
    assert borrowed.tomli()
    assert sys.modules["tomli"] is lent
    for lender in borrowed.LENDERS:
        monkeypatch.setitem(sys.modules, lender, None)
    assert not borrowed.tomli()
