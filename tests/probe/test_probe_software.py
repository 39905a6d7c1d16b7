import shutil
import sys

import pytest

from bench.probe import software


def silent(command):
    return None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "mpirun (Open MPI) 4.1.2\n\nReport bugs to http://www.open-mpi.org/community/help/\n",
            ("Open MPI", "4.1.2"),
        ),
        ("mpirun (Open MPI) 5.0.11\n", ("Open MPI", "5.0.11")),
        ("mpirun (OpenRTE) 4.0.3\n", ("Open MPI", "4.0.3")),
        ("HYDRA build details:\n    Version:                                 4.2.1\n", ("MPICH", "4.2.1")),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.11 Build 20231005\n", ("Intel MPI", "2021.11")),
        ("bash: mpirun: command not found\n", (None, None)),
        ("", (None, None)),
    ],
)
def test_mpirun_says_its_flavour(text, found):
    assert software.parse_mpirun(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# Library version: 1.18.1\n# Library path: /lib/libucs.so.0\n", "1.18.1"),
        ("# UCT version=1.12.1 revision dc92435\n", "1.12.1"),
        ("ucx_info: not found", None),
        ("", None),
    ],
)
def test_ucx(text, found):
    assert software.parse_ucx(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MLNX_OFED_LINUX-23.10-0.5.5.0:\n", "MLNX_OFED_LINUX-23.10-0.5.5.0"),
        ("OFED-internal-24.10-1.1.4:\n", "OFED-internal-24.10-1.1.4"),
        ("", None),
    ],
)
def test_ofed(text, found):
    assert software.parse_ofed(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\n", ("2.13.0+cpu", None)),
        ("__version__ = '2.6.0+cu124'\ncuda: Optional[str] = '12.4'\n", ("2.6.0+cu124", "12.4")),
        ("__version__ = \"2.1.0\"\ncuda = '12.1'\n", ("2.1.0", "12.1")),
        ("", (None, None)),
    ],
)
def test_torch_says_its_version_without_being_imported(text, found):
    assert software.parse_torch_version(text) == found


@pytest.mark.parametrize(
    ("requirements", "found"),
    [
        (["filelock", "nvidia-nccl-cu12==2.27.5; platform_system == 'Linux'"], "2.27.5"),
        (["nvidia-nccl-cu13 (==2.28.9)"], "2.28.9"),
        (["nvidia-nccl-cu12>=2.0"], None),
        ([], None),
    ],
)
def test_the_pinned_nccl(requirements, found):
    assert software.parse_pin(requirements) == found


def test_libraries_and_plugins_are_the_real_files_each_once(tmp_path):
    folder, other = tmp_path / "opt/lib", tmp_path / "usr/lib64"
    for path in (folder, other):
        path.mkdir(parents=True)
    (folder / "libnccl.so.2.26.2").touch()
    (folder / "libnccl.so.2").symlink_to("libnccl.so.2.26.2")
    (folder / "libnccl.so").symlink_to("libnccl.so.2")
    (folder / "libnccl_static.a").touch()
    (folder / "libnccl-net.so").touch()
    (folder / "libnccl-net-ofi.so.0").touch()
    (folder / "libnccl-tuner.so").touch()
    (other / "libnccl-net.so").symlink_to(folder / "libnccl-net.so")
    (other / "libnccl.so.1").symlink_to("nowhere")
    found = software.software(tmp_path, {"LD_LIBRARY_PATH": f"{folder}::relative:{tmp_path}/nothing"}, silent)
    here = [path for path in found.nccl_libraries if path.startswith(str(tmp_path))]
    assert here == [str(folder / "libnccl.so.2.26.2")]
    plugins = [path for path in found.net_plugins if path.startswith(str(tmp_path))]
    assert sorted(plugins) == [str(folder / "libnccl-net-ofi.so.0"), str(folder / "libnccl-net.so")]


def test_tools_are_asked_and_nothing_is_made_up_where_there_is_none(tmp_path):
    said = {"mpirun": "mpirun (Open MPI) 4.1.2", "ucx_info": "# Library version: 1.18.1", "ofed_info": None}
    found = software.software(tmp_path, {}, lambda command: said[command[0]])
    assert (found.mpi, found.mpi_version, found.ucx, found.ofed) == ("Open MPI", "4.1.2", "1.18.1", None)
    nothing = software.software(tmp_path, {}, silent)
    assert (nothing.mpi, nothing.mpi_version, nothing.ucx, nothing.ofed) == (None, None, None, None)
    assert nothing.python == sys.version.split()[0]


def test_a_probe_does_not_import_torch(tmp_path):
    loaded = {name for name in ("torch", "mpi4py.MPI") if name in sys.modules}
    software.software(tmp_path, {}, silent)
    assert {name for name in ("torch", "mpi4py.MPI") if name in sys.modules} == loaded


def test_ask_takes_both_streams_and_survives_a_tool_that_is_not_there():
    assert software.ask(("no-such-tool-anywhere", "-v")) is None
    shell = shutil.which("sh")
    assert shell is not None
    assert software.ask((shell, "-c", "echo out; echo err >&2; exit 3")) == "out\nerr\n"
