"""mpirun on this machine: recognised, and told what it needs."""

import os
import pwd

import pytest

from bench.launch import LaunchError, flavour, local_command, mpi_environment, quiet_mpi, shown


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("mpirun (Open MPI) 5.0.11", "openmpi"),
        ("mpirun (Open MPI) 4.1.4\n\nReport bugs to ...", "openmpi"),
        ("prterun (PRRTE) 3.0.2", "openmpi"),
        ("HYDRA build details:\n    Version: 4.0", "mpich"),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.9", "mpich"),
    ],
)
def test_the_flavour_of_mpirun_is_read_from_its_version(text, kind):
    assert flavour(text) == kind


@pytest.mark.parametrize("text", ["", "jsrun 1.0\nx"])
def test_an_unknown_mpirun_is_an_error(text):
    with pytest.raises(LaunchError, match="known: Open MPI, MPICH"):
        flavour(text)


def test_open_mpi_is_told_to_oversubscribe_and_mpich_needs_no_word():
    assert ":OVERSUBSCRIBE" in local_command("mpirun", "openmpi", 4, ["accept"])
    assert local_command("mpiexec", "mpich", 4, ["accept"])[:3] == ["mpiexec", "-n", "4"]


def test_what_the_user_set_for_mpi_is_kept():
    assert mpi_environment({"OMPI_MCA_pml": "ucx"})["OMPI_MCA_pml"] == "ucx"
    assert "ib" not in mpi_environment({})["UCX_TLS"]


def test_mpirun_has_a_home_whoever_starts_it(monkeypatch):
    assert mpi_environment({"HOME": "/home/ada"})["HOME"] == "/home/ada"
    assert mpi_environment({})["HOME"] == pwd.getpwuid(os.geteuid()).pw_dir
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    assert mpi_environment({})["HOME"] == "/"


def test_mpi_is_kept_on_the_management_interface_where_there_is_one():
    assert "eth0" in quiet_mpi("eth0").values()
    assert not any(name.endswith(("if_include", "IFACE", "NET_DEVICES")) for name in quiet_mpi())


def test_a_command_is_shown_so_that_a_shell_reads_it_back():
    import shlex

    command = ["mpirun", "-n", "2", "--map-by", ":OVERSUBSCRIBE", "a b", "it's", "$HOME", ""]
    assert shlex.split(shown(command)) == command
