"""What job files, README and documentation tell people to type is what the command line takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_lines import command_lines, complaint, markdown_code, texts

ROOT = Path(__file__).parents[2]
FOUND = [(name, words) for name, text in texts(ROOT).items() for words in command_lines(text)]


@pytest.mark.parametrize(("name", "words"), FOUND, ids=[f"{n}: {' '.join(w)}"[:90] for n, w in FOUND])
def test_a_command_line_that_people_are_told_is_taken(name, words):
    assert complaint(words) == ""


def test_the_files_that_hold_command_lines_are_read():
    held = {name for name, _ in FOUND}
    assert {"README.md", "ci/jobs/slurm/accept.sbatch", "ci/jobs/systemd/railgauge.cron"} <= held
    assert len(FOUND) > 25


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("railgauge accept --profile local", [["accept", "--profile", "local"]]),
        ("x && railgauge probe; echo", [["probe"]]),
        ("mpirun -n 16 \\\n    railgauge accept --profile x   # words", [["accept", "--profile", "x"]]),
        (".venv/bin/railgauge launch --hosts h -- run a", [["launch", "--hosts", "h", "--", "run", "a"]]),
        ("17 3 * * * railgauge cd /x && railgauge nightly --history h", [["nightly", "--history", "h"]]),
        ("goes to railgauge accept. Exit status: 0", [["accept"]]),
        ("railgauge explain '^=mlx5_0'", [["explain", "^=mlx5_0"]]),
        ("railgauge judges nothing", []),
        ("a railgauge: accept", []),
    ],
)  # fmt: skip
def test_command_lines_are_found(text, words):
    assert command_lines(text) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("accept --nosuch", "No such option"),
        ("accept extra", "takes no"),
        ("run all_reduce -b 8X", "not a size"),
        ("export RUN --format nosuch", "nosuch"),
        ("accept --profile", "requires an argument"),
        ("launch --hosts h -- accept --nosuch", "No such option"),
    ],
)
def test_what_the_command_line_would_refuse_is_refused(line, words):
    assert words in complaint(line.split())


def test_prose_is_no_code():
    assert markdown_code("say railgauge accept\n`railgauge probe` and\n\n    railgauge run x\n") == (
        "railgauge probe\n    railgauge run x"
    )
