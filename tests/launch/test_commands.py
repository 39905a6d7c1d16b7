"""The command of each launcher, word by word; and how one is started at a far end."""

import os
import shlex
import stat
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.launch import LaunchError, launch_context
from bench.launch.command_lines import LaunchJob, steps
from bench.launch.hosts import HostEntry
from bench.launch.remote import Remote, far_command, words
from bench.launch.table import STARTERS

HOSTS = (HostEntry("n1", 8), HostEntry("n2", 8))
ACCEPT = ("accept", "--profile", "lambda-1cc-h100")


def job(**changes):
    given_ = {
        "hosts": HOSTS,
        "python": "/venv/bin/python",
        "arguments": ACCEPT,
        "management": "eth0",
        "forward": {"NCCL_DEBUG": "INFO"},
        "port": 29400,
        "run": "ab12",
    }
    return LaunchJob(**{**given_, **changes})


def only(launcher, **changes):
    (step,) = steps(launcher, job(**changes))
    return step


def test_open_mpi_gets_hosts_slots_and_every_pin_that_keeps_it_off_the_rails():
    step = only("openmpi")
    text = step.shown()
    assert step.command[:5] == ("mpirun", "-n", "16", "--host", "n1:8,n2:8")
    assert step.command[-6:] == ("/venv/bin/python", "-m", "bench", *ACCEPT)
    for pin in (
        "OMPI_MCA_pml=ob1",
        "OMPI_MCA_btl_tcp_if_include=eth0",
        "OMPI_MCA_oob_tcp_if_include=eth0",
        "PRTE_MCA_prte_if_include=eth0",
        "UCX_NET_DEVICES=eth0",
        "UCX_TLS=self,sm,tcp",
        "FI_TCP_IFACE=eth0",
    ):
        assert pin in text
    # what mpirun does not carry to other nodes by itself is named
    named = [step.command[at + 1] for at, word in enumerate(step.command) if word == "-x"]
    assert {"UCX_NET_DEVICES", "UCX_TLS", "NCCL_DEBUG", "FI_PROVIDER"} <= set(named)
    assert not any(name.startswith("OMPI_") for name in named)
    assert "ib" not in step.environment["UCX_TLS"] and "rc" not in step.environment["UCX_TLS"]


def test_without_a_management_interface_no_interface_is_pinned():
    assert not any(
        "if_include" in name or "NET_DEVICES" in name for name in only("openmpi", management="").environment
    )


def test_mpich_gets_its_own_words():
    step = only("mpich", mpirun="mpiexec", flavour="mpich")
    assert step.command[:7] == ("mpiexec", "-n", "16", "-hosts", "n1:8,n2:8", "-iface", "eth0")
    assert step.environment["UCX_NET_DEVICES"] == "eth0"
    assert not any(name.startswith("OMPI_") for name in step.environment)


@pytest.mark.parametrize(("flavour", "plugin"), [("openmpi", "pmix"), ("mpich", "pmi2")])
def test_srun_speaks_the_protocol_of_the_mpi_library(flavour, plugin):
    step = only("srun", flavour=flavour)
    assert f"--mpi={plugin}" in step.command
    assert {"--nodes=2", "--ntasks=16", "--ntasks-per-node=8", "--nodelist=n1,n2"} <= set(step.command)


def test_srun_cannot_start_unequal_nodes_and_says_what_can():
    with pytest.raises(LaunchError, match="n2 takes 4: use mpirun"):
        steps("srun", job(hosts=(HostEntry("n1", 8), HostEntry("n2", 4))))


def test_torchrun_is_one_command_a_node_with_its_node_rank():
    first, second = steps("torchrun", job())
    assert (first.host, second.host) == ("n1", "n2")
    assert "--node-rank=0" in first.command and "--node-rank=1" in second.command
    for step in (first, second):
        assert {"--nnodes=2", "--nproc-per-node=8", "--master-addr=n1", "--master-port=29400"} <= set(
            step.command
        )
        assert step.command[-5:] == ("-m", "bench", *ACCEPT)
        assert step.environment["NCCL_DEBUG"] == "INFO"


def test_fabric_starts_the_console_script_because_it_takes_no_module():
    first, second = steps("fabric", job(gpus=False))
    assert first.command[:2] == ("/venv/bin/fabric", "run") and "/venv/bin/railgauge" in first.command
    assert "--accelerator=cpu" in first.command and "--num-nodes=2" in first.command
    assert "--node-rank=1" in second.command and "--main-address=n1" in second.command


def test_deepspeed_gets_the_world_and_adds_no_word_of_its_own():
    import base64
    import json

    first, second = steps("deepspeed", job())
    world = next(word for word in first.command if word.startswith("--world_info=")).partition("=")[2]
    assert json.loads(base64.urlsafe_b64decode(world)) == {"n1": list(range(8)), "n2": list(range(8))}
    assert "--no_local_rank" in first.command and "--node_rank=1" in second.command


def test_a_shell_is_told_its_ranks_and_understands_them_again():
    made = steps("shell", job(hosts=(HostEntry("n1", 4), HostEntry("n2", 8), HostEntry("n3", 2))))
    places = [launch_context(step.environment) for step in made]
    assert [(where.rank, where.ranks, where.size) for where in places] == [
        (0, 4, 14),
        (4, 8, 14),
        (12, 2, 14),
    ]
    assert {where.meet for where in places} == {places[0].meet}
    assert places[0].meet is not None and places[0].meet.host == "n1"


@pytest.mark.parametrize("launcher", ["torchrun", "fabric", "deepspeed", "shell"])
def test_a_token_is_named_by_its_file_and_never_given(launcher):
    for step in steps(launcher, job(token_file="/shared/token")):
        assert step.environment["RAILGAUGE_TOKEN_FILE"] == "/shared/token"
        assert "RAILGAUGE_TOKEN" not in step.environment
    for step in steps(launcher, job()):
        assert not any("TOKEN" in word for word in step.words)


def test_an_unknown_launcher_lists_the_known_ones():
    with pytest.raises(
        LaunchError, match="no launcher 'jsrun'; known: deepspeed, fabric, mpich, openmpi, shell"
    ):
        steps("jsrun", job())
    with pytest.raises(LaunchError, match="number of ranks"):
        steps("openmpi", job(hosts=(HostEntry("n1"),)))


@settings(max_examples=100)
@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12), max_size=4))
def test_words_come_out_of_a_shell_as_they_went_in(arguments):
    for launcher in STARTERS:
        for step in steps(launcher, job(arguments=("accept", *arguments), forward={"NCCL_X": "a b'$(c)"})):
            assert shlex.split(step.shown()) == list(step.words)
            end = len(step.words) - len(arguments)
            assert list(step.words[end:]) == arguments


def agent(tmp_path):
    """A remote shell that passes no environment on and writes down its own command line."""
    path = tmp_path / "agent"
    path.write_text(
        "#!/bin/sh\n"
        f'echo "$0 $@" >> {shlex.quote(str(tmp_path / "seen"))}\n'
        'shift\nexec env -i PATH="$PATH" sh -c "$*"\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return (str(path),)


def far(tmp_path, program, *arguments, **environment):
    """A step that runs a Python program at a host that is not here."""
    from bench.launch.command_lines import HostCommand

    script = tmp_path / "program.py"
    script.write_text(program)
    return HostCommand("far.example", (sys.executable, str(script), *arguments), environment)


def test_a_far_end_gets_the_secret_words_and_folder_and_answers_with_its_status(tmp_path):
    program = (
        "import os, sys, json, pathlib\n"
        "pathlib.Path('out').write_text(json.dumps([os.environ['RAILGAUGE_TOKEN'], sys.argv[1:], os.getcwd(),"
        " os.environ['NCCL_X'], sys.stdin.read()]))\n"
        "sys.exit(7)\n"
    )
    words_ = ("two words", "$(touch smuggled)", "'", "")
    step = far(tmp_path, program, *words_, NCCL_X="a b; $HOME")
    folder = tmp_path / "a folder's name"
    folder.mkdir()
    ends = Remote([step], str(folder), "the-secret-of-this-job", agent(tmp_path)).wait()
    assert ends == {"far.example": 7}
    import json

    told = json.loads((folder / "out").read_text())
    assert told == ["the-secret-of-this-job", list(words_), str(folder), "a b; $HOME", ""]
    assert "the-secret-of-this-job" not in (tmp_path / "seen").read_text()
    assert not (folder / "smuggled").exists()


def test_a_far_end_ends_its_command_when_we_are_gone(tmp_path):
    program = (
        "import os, pathlib, signal, sys, time\n"
        "def end(*_):\n    pathlib.Path('ended').write_text('')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "pathlib.Path('pid').write_text(str(os.getpid()))\n"
        "for _ in range(400): time.sleep(0.05)\n"
    )
    step = far(tmp_path, program)
    end = subprocess.Popen(words(step, str(tmp_path), agent(tmp_path)), stdin=subprocess.PIPE)
    assert end.stdin is not None
    end.stdin.write(b"token\n")
    end.stdin.flush()
    from mpi_jobs import wait_until

    wait_until((tmp_path / "pid").exists, "the far end's start", 20)
    end.stdin.close()  # as when ssh or we were killed
    wait_until((tmp_path / "ended").exists, "the far end's end", 20)
    end.wait(20)


def test_ssh_is_told_that_no_option_follows():
    from bench.launch.command_lines import HostCommand

    step = HostCommand("n1.example", ("true",))
    assert words(step, "/", ("ssh", "-p", "22"))[3:5] == ["--", "n1.example"]
    assert shlex.split(far_command(step, "/x y"))[:2] == ["cd", "/x y"]
    assert words(HostCommand("localhost", ("true",)), "/", ("ssh",))[0] == "sh"
    assert os.path.basename(words(step, "/", ("/x/agent",))[0]) == "agent"  # noqa: PTH119
