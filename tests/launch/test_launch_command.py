"""railgauge launch: what it prints, what it refuses."""

import shlex

import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.launch import LaunchError

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
    refused = launch(*words, "--", "accept", "--profile", "local")
    assert isinstance(refused.exception, LaunchError) and "n2 slots=8, or give --per-node" in str(
        refused.exception
    )


def test_the_management_interface_of_the_profile_is_pinned(tmp_path):
    words = ("--hosts", hosts(tmp_path), "--launcher", "openmpi", "--dry-run")
    runpod = launch(*words, "--", "accept", "--profile=runpod-instant-cluster").stdout
    assert "UCX_NET_DEVICES=eth0" in runpod
    assert "UCX_NET_DEVICES=bond0" in launch(*words, "--management", "bond0", *ACCEPT).stdout


def test_a_hostile_host_file_is_one_line_with_file_and_number(tmp_path):
    refused = launch("--hosts", hosts(tmp_path, "n1\n-oProxyCommand=id\n"), "--shell", *ACCEPT)
    assert isinstance(refused.exception, LaunchError)
    assert "my hosts line 2: '-oProxyCommand=id': a host name cannot begin with '-'" in str(refused.exception)
    assert refused.exception.exit_status == 2


def test_only_what_measures_is_started(tmp_path):
    done = launch("--hosts", hosts(tmp_path), "--shell", "--", "judge", "x")
    assert done.exit_code == 2 and "comes one of accept, run" in done.output


def test_a_token_file_that_others_can_read_is_refused_before_anything_starts(tmp_path):
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123\n")
    token.chmod(0o644)
    words = ("--hosts", hosts(tmp_path), "--launcher", "torchrun", "--dry-run", "--token-file", str(token))
    assert "chmod 600" in str(launch(*words, *ACCEPT).exception)
    token.chmod(0o600)
    printed = launch(*words, *ACCEPT).stdout
    assert f"RAILGAUGE_TOKEN_FILE={token}" in printed and "0123456789abcdef" not in printed
