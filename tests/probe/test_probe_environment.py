import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.nccl.environment import effective
from bench.probe import environment


def test_the_allow_list_takes_what_steers_the_network_and_nothing_else():
    given_ = {
        "NCCL_IB_HCA": "^=mlx5_0",
        "TORCH_NCCL_BLOCKING_WAIT": "1",
        "UCX_NET_DEVICES": "mlx5_1:1",
        "OMPI_MCA_pml": "ucx",
        "PRTE_MCA_oob": "tcp",
        "GLOO_SOCKET_IFNAME": "eth0",
        "SLURM_JOB_ID": "7",
        "LD_PRELOAD": "",
        "HOME": "/root",
        "PATH": "/bin",
        "SLURM_JWT": "secret",
        "AWS_ACCESS_KEY_ID": "secret",
        "MY_NCCL_IB_HCA": "x",
    }
    taken, withheld = environment.allowed(given_)
    assert set(taken) == set(given_) - {"HOME", "PATH", "SLURM_JWT", "AWS_ACCESS_KEY_ID", "MY_NCCL_IB_HCA"}
    assert taken["LD_PRELOAD"] == ""  # exported and empty is not the same as absent
    assert withheld == ()


@pytest.mark.parametrize(
    "name",
    [
        "NCCL_API_TOKEN",
        "UCX_KEY_FILE",
        "FI_SECRET",
        "OMPI_MCA_sec_password",
        "CUDA_PASSPHRASE",
        "GLOO_Credentials",
    ],
)
def test_a_name_that_looks_like_a_secret_is_withheld_even_inside_the_allow_list(name):
    assert environment.allowed({name: "hunter2"}) == ({}, (name,))


SECRET = st.sampled_from(["TOKEN", "KEY", "SECRET", "PASS", "token", "Key"])


@given(st.sampled_from(environment.PREFIXES), SECRET, st.text("ABC_", max_size=4))
def test_no_secret_value_leaves_the_probe(prefix, word, rest):
    name = f"{prefix}{rest}{word}{rest}"
    taken, withheld = environment.allowed({name: "hunter2"})
    assert "hunter2" not in repr((taken, withheld))
    text, hidden = environment.without_secrets(f"NCCL_DEBUG=INFO\n{name}=hunter2\n")
    assert "hunter2" not in repr((text, hidden))
    assert text == "NCCL_DEBUG=INFO\n\n"


def test_conf_files_are_read_byte_by_byte(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nccl.conf").write_bytes(b"NCCL_IB_HCA=^=mlx5_0 \r\n#x\nNCCL_DEBUG=\xff\n")
    found = environment.environment(tmp_path, {"HOME": "/home/me"}, "/home/you")
    assert found.files == {
        "/home/me/.nccl.conf": None,
        "/home/you/.nccl.conf": None,
        "/etc/nccl.conf": "NCCL_IB_HCA=^=mlx5_0 \r\n#x\nNCCL_DEBUG=\udcff\n",
    }
    assert effective(found.variables, found.files, home=found.home).value("NCCL_IB_HCA") == "^=mlx5_0 "


def test_a_chosen_conf_file_is_read_as_well(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/my.conf").write_text("NCCL_ALGO=Ring\nNCCL_NET_TOKEN=hunter2\n")
    found = environment.environment(tmp_path, {"NCCL_CONF_FILE": "/run/my.conf"})
    assert found.files == {"/run/my.conf": "NCCL_ALGO=Ring\n\n", "/etc/nccl.conf": None}
    assert found.withheld == ("NCCL_NET_TOKEN",)


def test_line_numbers_stay_when_a_line_is_withheld():
    text, hidden = environment.without_secrets("A=1\nB_SECRET=x\nC=3")
    assert (text.split("\n"), hidden) == (["A=1", "", "C=3"], ("B_SECRET",))


def test_a_copied_tree_has_no_environment_but_its_system_file(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nccl.conf").write_text("NCCL_DEBUG=WARN")
    found = environment.environment(tmp_path, None)
    assert (found.variables, found.files) == ({}, {"/etc/nccl.conf": "NCCL_DEBUG=WARN"})


def test_the_books_of_open_mpi_4_are_nobodys_settings():
    told = {
        "OMPI_MCA_orte_hnp_uri": "1873018880.0;tcp://198.18.0.10:37451",
        "OMPI_MCA_orte_precondition_transports": "0123-4567",
        "OMPI_MCA_ess_base_vpid": "1",
        "OMPI_MCA_btl": "^openib",
    }
    assert environment.allowed(told) == ({"OMPI_MCA_btl": "^openib"}, ())
