"""railgauge launch: what it prints, what it refuses."""

import json
import shlex

import pytest
from click.testing import CliRunner

import mpi_jobs
from bench.cli import cli
from bench.launch import LaunchError
from bench.model.verdict import Status, Verdict
from bench.store import save_verdicts
from runs import cases, folder, measured, ranks

ACCEPT = ["--", "accept", "--profile", "lambda-1cc-h100"]


def hosts(tmp_path, text="n1 slots=8\nn2 slots=8\n"):
    path = tmp_path / "my hosts"
    path.write_text(text)
    return str(path)


def launch(*words):
    return CliRunner().invoke(cli, ["launch", *words])


@pytest.mark.parametrize("launcher", ["openmpi", "mpich", "srun", "torchrun", "fabric", "deepspeed", "shell"])
def test_a_dry_run_prints_what_a_shell_can_read_and_starts_nothing(tmp_path, monkeypatch, launcher):
    monkeypatch.setenv("RAILGAUGE_TOKEN", "a-secret-that-is-not-shown")
    monkeypatch.setenv("NCCL_API_TOKEN", "another-secret")
    done = launch("--hosts", hosts(tmp_path), "--launcher", launcher, "--dry-run", *ACCEPT)
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert len(lines) == (1 if launcher in ("openmpi", "mpich", "srun") else 2)
    assert all("accept" in shlex.split(line) for line in lines)
    assert "secret" not in done.output


def test_shell_prints_one_command_a_node_and_says_that_a_token_is_needed(tmp_path):
    done = launch("--hosts", hosts(tmp_path), "--shell", *ACCEPT)
    assert done.exit_code == 0
    assert "# on n1" in done.stdout and "# on n2" in done.stdout and "openssl rand -hex 32" in done.stdout


def test_slots_come_from_the_file_then_the_option_then_the_profile(tmp_path):
    plain = hosts(tmp_path, "n1 slots=3\nn2\n")
    words = ("--hosts", plain, "--launcher", "openmpi", "--dry-run")
    assert "n1:3,n2:8" in launch(*words, *ACCEPT).stdout
    assert "n1:3,n2:5" in launch(*words, "--per-node", "5", *ACCEPT).stdout
    refused = launch(*words, "--", "accept", "--profile", "local").exception
    assert isinstance(refused, LaunchError) and refused.exit_status == 2
    assert "my hosts line 2: n2 has no slots" in str(refused) and "or give --per-node" in str(refused)


def test_the_management_interface_of_the_profile_is_pinned(tmp_path):
    words = ("--hosts", hosts(tmp_path), "--launcher", "openmpi", "--dry-run")
    assert "if_exclude" not in launch(*words, "--management", "bond0", *ACCEPT).stdout
    assert "UCX_NET_DEVICES=bond0" in launch(*words, "--management", "bond0", *ACCEPT).stdout


def test_an_interface_that_reaches_no_other_node_is_kept_from_mpi(tmp_path, monkeypatch):
    words = ("--hosts", hosts(tmp_path), "--launcher", "openmpi", "--dry-run")
    accept = ("--", "accept", "--profile=runpod-instant-cluster")
    monkeypatch.delenv("OMPI_MCA_btl_tcp_if_include", raising=False)
    runpod = launch(*words, *accept).stdout
    assert "OMPI_MCA_btl_tcp_if_exclude=127.0.0.0/8,eth0" in runpod
    assert "PRTE_MCA_prte_if_exclude=eth0" in runpod and "OMPI_MCA_oob_tcp_if_exclude=eth0" in runpod
    assert "include" not in runpod and "UCX_NET_DEVICES" not in runpod
    named = launch(*words, "--management", "bond0", *accept).stdout
    assert "UCX_NET_DEVICES=bond0" in named and "exclude" not in named
    monkeypatch.setenv("OMPI_MCA_btl_tcp_if_include", "eth3")  # Open MPI refuses both together
    assert "btl_tcp_if_exclude" not in launch(*words, *accept).stdout


def test_a_hostile_host_file_is_one_line_with_file_and_number(tmp_path):
    refused = launch("--hosts", hosts(tmp_path, "n1\n-oProxyCommand=id\n"), "--shell", *ACCEPT)
    assert isinstance(refused.exception, LaunchError)
    assert "my hosts line 2: '-oProxyCommand=id': a host name cannot begin with '-'" in str(refused.exception)
    assert refused.exception.exit_status == 2


def test_only_what_measures_is_started(tmp_path):
    done = launch("--hosts", hosts(tmp_path), "--shell", "--", "judge", "x")
    assert done.exit_code == 2 and "write one of accept, run" in done.output


def test_a_token_file_that_others_can_read_is_refused_before_anything_starts(tmp_path):
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123\n")
    token.chmod(0o644)
    words = ("--hosts", hosts(tmp_path), "--launcher", "torchrun", "--dry-run", "--token-file", str(token))
    refused = launch(*words, *ACCEPT)
    assert refused.exit_code == 2 and "chmod 600" in refused.output
    token.chmod(0o600)
    printed = launch(*words, *ACCEPT).stdout
    assert f"RAILGAUGE_TOKEN_FILE={token}" in printed and "0123456789abcdef" not in printed


# every one of them would be met by each rank on each node, seconds or minutes later
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["accept", "--nosuch"], "accept: No such option"),
        (["accept", "--hang", "10"], "is not a time"),
        (["accept", "extra"], "accept: Got unexpected extra argument"),
        (["accept", "--profile", "nosuch"], "no profile 'nosuch'"),
        (["accept", "--budget", "soon"], "is not a time"),
        (["accept", "--ranks", "4"], "write slots=N in the host file"),
        (["run"], "run: Missing argument"),
        (["run", "nosuch"], "known: all_reduce"),
        (["run", "all_reduce", "-b", "x"], "is not a size"),
        (["run", "all_reduce", "-b", "2M", "-e", "1M"], "larger than --end"),
        (["run", "all_reduce", "-d", "fp8"], "known: float32"),
        (["run", "all_reduce", "-o", "xor"], "known: sum"),
        (["run", "all_reduce", "-b", "3"], "on 16 ranks needs 4 B at least"),
        (["run", "broadcast", "-r", "16"], "the ranks of this job are 0 to 15"),
        (["soak"], "soak: Missing option"),
        (["soak", "--minutes", "0"], "is not in the range"),
        (["soak", "--minutes", "1", "--size", "1"], "needs 4 B at least"),
        (["nightly"], "nightly: Missing option"),
        (["nightly", "--history", "nosuch://x"], "give a folder or a URL"),
        (["nightly", "--history", "x", "--webhook=https://chat/secret"], "export RAILGAUGE_WEBHOOK instead"),
        (["probe", "--root", "/"], "reads files copied from a machine"),
        (["accept", "--token-file", "/nonexistent"], "cannot read the token file"),
    ],
)
def test_what_is_wrong_with_the_inner_words_is_one_line_and_starts_nothing(tmp_path, words, why):
    started = tmp_path / "started"
    agent = tmp_path / "agent"
    agent.write_text(f"#!/bin/sh\ntouch {started}\n")
    agent.chmod(0o755)
    done = mpi_jobs.railgauge(
        *("launch", "--hosts", hosts(tmp_path), "--launcher", "torchrun", "--ssh", agent, "--", *words),
        cwd=tmp_path,
    )
    assert done.returncode == 2 and why in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "secret" not in done.stderr
    assert not started.exists() and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda out: (out.mkdir(), (out / "manifest.json").write_text("{}")), "already holds something"),
        (lambda out: out.write_text(""), "is a file"),
        (lambda out: out.parent.rmdir() or out.parent.write_text(""), "is a file"),
    ],
)
def test_a_run_folder_that_cannot_be_made_is_refused_before_anything_starts(tmp_path, make, why):
    out = tmp_path / "there" / "run"
    out.parent.mkdir()
    make(out)
    words = ("--hosts", hosts(tmp_path), "--launcher", "shell", "--ssh", "false", "--", "accept", "--profile")
    done = launch(*words, "lambda-1cc-h100", "--out", str(out))
    assert done.exit_code == 2 and why in done.output


def test_help_of_the_inner_command_is_shown_and_starts_nothing(tmp_path):
    done = launch("--hosts", hosts(tmp_path), "--ssh", "false", "--", "run", "--help")
    assert done.exit_code == 0 and "--cudagraph" in done.output


def test_a_resume_on_other_hosts_than_before_is_refused_before_anything_starts(tmp_path):
    planned = cases()
    folder(tmp_path / "run", [row for case in planned[:1] for row in measured(case)], planned, end=False)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    words = ("--launcher", "openmpi", "--dry-run", "--", "resume", str(tmp_path / "run"))
    refused = launch("--hosts", hosts(tmp_path), *words).exception
    assert f"was measured with {len(manifest['ranks'])} ranks on " in str(refused)
    assert "the host file gives 16 on 2" in str(refused)


def test_a_folder_that_somebody_sent_is_not_resumed_on_the_hosts(tmp_path, monkeypatch):
    folder(tmp_path / "run", [], cases(), end=False)
    words = ("--launcher", "openmpi", "--per-node", "2", "--dry-run", "--", "resume", str(tmp_path / "run"))
    here = hosts(tmp_path, "n0\n")
    assert "mpirun" in launch("--hosts", here, *words).output
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    refused = launch("--hosts", here, *words)
    assert "may not be your own" in str(refused.exception) and "mpirun" not in refused.output
    assert "mpirun" in launch("--hosts", here, *words, "--trust").output


def test_a_first_host_that_everybody_calls_himself_is_refused_where_the_others_look_for_it(tmp_path):
    names = hosts(tmp_path, "localhost slots=2\nn2 slots=2\n")
    refused = launch("--hosts", names, "--launcher", "torchrun", "--dry-run", *ACCEPT).exception
    assert (
        "line 1: localhost means a different machine on every host" in str(refused)
        and refused.exit_status == 2
    )
    assert launch("--hosts", names, "--launcher", "openmpi", "--dry-run", *ACCEPT).exit_code == 0


def test_an_agent_that_is_not_there_is_named_and_words_that_no_shell_reads_are_refused(tmp_path):
    words = ("--hosts", hosts(tmp_path), "--launcher", "shell")
    assert "no program nosuch here, which is needed to reach n1" in str(
        launch(*words, "--ssh", "nosuch x", *ACCEPT).exception
    )
    assert launch(*words, "--ssh", "a 'b", *ACCEPT).exit_code == 2


@pytest.mark.parametrize(("code", "meant"), [(0, 3), (1, 3), (2, 2), (3, 3), (127, 3)])
def test_a_launcher_that_left_no_verdict_here_is_believed_its_wrong_usage_alone(tmp_path, code, meant):
    agent = tmp_path / "agent"
    agent.write_text(f"#!/bin/sh\nexit {code}\n")
    agent.chmod(0o755)
    words = ("--hosts", hosts(tmp_path), "--launcher", "torchrun", "--ssh", str(agent), *ACCEPT)
    done = launch(*words, "--out", str(tmp_path / "run"))
    assert done.exit_code == meant
    assert ("holds no verdict" in done.stderr) == (code < 2)


def test_the_verdict_before_a_resume_is_not_believed_when_the_resume_never_began(tmp_path):
    planned = cases()
    rows = [row for case in planned for row in measured(case)]
    run = folder(tmp_path / "run", rows, planned, ranks(2, 1))
    save_verdicts(run, (Verdict("x", "all", Status.PASS, "fine"),), "local")
    names = hosts(tmp_path, "n1 slots=1\nn2 slots=1\n")
    done = launch("--hosts", names, "--launcher", "torchrun", "--ssh", "false", "--", "resume", str(run))
    assert done.exit_code == 3 and "ended with status 1 before" in done.stderr


def test_who_forgets_the_dashes_before_the_inner_command_is_told_so(tmp_path):
    (tmp_path / "hosts").write_text("node1 slots=2\n")
    hosts = ["--hosts", str(tmp_path / "hosts")]
    said = launch(*hosts, "--dry-run", "accept", "--profile", "local")
    assert said.exit_code == 2
    assert "write -- in front of the command that is started" in said.output
    other = launch(*hosts, "--nonsense", "--", "accept")
    assert other.exit_code == 2 and "write --" not in other.output and "--nonsense" in other.output
