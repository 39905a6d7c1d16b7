"""railgauge explain LOG: what real logs are said to say, and that nothing is said of what they do not hold."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.exchange.importing import text_file
from bench.exchange.importing.imported_rows import ImportRefused
from bench.nccl.log import read
from bench.nccl.log_summary import summarise
from bench.nccl.warning_meanings import MEANINGS, meaning_of
from golden import Golden, opened

DATA = Path(__file__).parents[1] / "nccl" / "data"
LOGS = sorted(DATA.glob("*.txt"))
KNOWN = json.loads((DATA / "expected.json").read_text())
NEBIUS = DATA / "005-nebius-h100-2node-sharp-pxn-2.19.3.txt"
HEAD = "node{node}:{pid}:{pid} [0] NCCL INFO "


def explain(*words, text=None):
    return CliRunner().invoke(
        cli, ["explain", *map(str, words)], input=text, catch_exceptions=False, standalone_mode=False
    )


def rank(number, hca="mlx5_1", network="IB", gdr="/GDRDMA", of=2, more=()):
    """The log of one rank, which has a node of its own."""
    said = [
        f"NET/IB : Using [0]{hca}:1/IB [RO]; OOB eth0:10.0.0.{number}<0>",
        f"Using network {network}",
        f"ncclCommInitRank comm 0xa rank {number} nranks {of} cudaDev 0 nvmlDev 0 busId 1 commId 0x7 - Init START",
        f"comm 0xa rank {number} nRanks {of} nNodes {of} localRanks 1 localRank 0 MNNVL 0",
        f"Channel 00/0 : {number}[0] -> {1 - number}[0] [send] via NET/{network}/0{gdr}",
        "Connected all rings",
        f"ncclCommInitRank comm 0xa rank {number} nranks {of} cudaDev 0 nvmlDev 0 busId 1 commId 0x7 - Init COMPLETE",
        *more,
    ]
    return "".join(f"{HEAD.format(node=number, pid=100 + number)}{text}\n" for text in said)


def warned(text):
    return f"node0:100:100 [0] net.cc:9 NCCL WARN {text}\n"


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    yield from opened(request, Path(__file__).with_name("explain_log.txt"), [path.name for path in LOGS])


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name)
def test_what_is_said_of_real_logs(golden: Golden, path: Path) -> None:
    found = explain(path)
    golden.hold(path.name, [f"status {found.exit_code}", *found.output.splitlines()])


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name)
def test_it_says_what_a_careful_reader_found(path: Path) -> None:
    found, known = summarise(read(path.read_text(errors="replace"))), KNOWN[path.stem]
    networks = known.get("using_network", ())  # one name, or names with counts
    networks = {networks} if isinstance(networks, str) else set(networks)
    assert {name for each in found.networks for name in each.value.split(", ")} == networks
    assert set(known.get("hosts", found.hosts)) == set(found.hosts)
    listed = " ".join(each.value for each in found.hcas)
    assert all(f"{hca['name']}:{hca['port']}/{hca['link']}" in listed for hca in known["hcas"])
    assert [each.value for each in found.versions] == known.get("nccl_version", [])


def test_a_healthy_job_has_nothing_odd():
    found = explain("-", text=rank(0) + rank(1))
    assert (found.exit_code, found.output.splitlines()[-1]) == (0, "nothing is odd")


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (rank(1, gdr=""), "GPUDirect RDMA is used on no channel to another node (rank 1)"),
        (rank(1, network="Socket", gdr=""), "data goes by TCP sockets"),
        (rank(1, network="Socket", gdr=""), "the ranks have different networks"),
        (rank(1, hca="mlx5_0"), "the ranks have different HCAs: rank 0: mlx5_1:1/IB; rank 1: mlx5_0:1/IB"),
        (rank(1, more=["NCCL version 2.18.3+cuda12.2"]), "the ranks have different versions of NCCL"),
        (rank(1, more=["NCCL_P2P_DISABLE set by environment to 1."]), "no NVLink or PCIe between GPUs"),
        (rank(1) + warned("NET/Socket : no interface found"), "no interface fits NCCL_SOCKET_IFNAME"),
    ],
)
def test_what_is_odd_is_said_with_what_would_change_it(odd, words):
    found = explain("-", text=rank(0, more=["NCCL version 2.22.3+cuda12.2"]) + odd)
    plain = " ".join(found.output.split())
    assert found.exit_code == 1
    assert words in plain.partition(" odd: ")[2]
    assert "->" in plain


def test_what_differs_between_two_jobs_is_no_fault():
    other = rank(1, network="IBext", hca="mlx5_0", more=["NCCL version 2.18.3+cuda12.2"]).replace(
        ":101:", ":555:"
    )
    found = explain("-", text=rank(0, more=["NCCL version 2.22.3+cuda12.2"]) + rank(1) + other)
    plain = " ".join(found.output.split())
    assert found.exit_code == 3 and "odd:" not in plain
    assert "not known: two processes each say that they are rank 1: these are logs of two jobs" in plain


def test_a_line_that_another_rank_wrote_into_names_no_network():
    """As seen where two ranks write to one terminal: the name goes on with the head of the other's line."""
    for rest in ("0: node0:100:100 [0] N", "[1,15]<stdout>:nccl-", " b:2:"):
        text = rank(0) + rank(1).replace("Using network IB", f"Using network IB{rest}")
        found = explain("-", text=text)
        plain = " ".join(found.output.split())
        assert found.exit_code == 3 and "odd:" not in plain, plain
        assert "not known: no line tells which network rank 1 uses" in plain


def test_what_is_odd_for_one_reason_is_said_once():
    text = rank(0) + rank(1)
    for words in (
        "Unable to find a protocol that worked.  Failing initialization.",
        "Initializing plugin failed",
    ):
        text += warned(f"NET/OFI {words}")
    assert explain("-", text=text).output.count("AWS's network plugin") == 1


def test_from_2_32_on_a_part_of_the_warnings_is_called_attn():
    said = "node1:101:101 [0] init.cc:2041 (main) NCCL ATTN Mismatched NCCL git versions detected: rank 0 fingerprint "
    found = explain("-", text=rank(0) + rank(1) + said + "0x0000abcd, rank 1 fingerprint 0x0000abce\n")
    plain = " ".join(found.output.split())
    assert "ranks load different versions of NCCL" in plain and found.exit_code == 1


def test_a_setting_is_read_behind_the_name_of_its_network():
    found = explain(
        "-", text=rank(0, more=["NET/IB: NCCL_IB_RAIL_POLICY set by environment to CX9_FLIP"]) + rank(1)
    )
    assert "NCCL_IB_RAIL_POLICY=CX9_FLIP (rank 0)" in found.output


def test_an_hca_that_one_rank_leaves_out_and_another_uses_is_odd():
    left_out = rank(0, more=["NCCL_IB_HCA set by environment to ^=mlx5_0"])
    found = explain("-", text=left_out + rank(1, hca="mlx5_1:1/IB [1]mlx5_0"))
    assert "mlx5_0 is in use (rank 1), although NCCL_IB_HCA leaves it out elsewhere" in " ".join(
        found.output.split()
    )


def test_where_one_rank_of_two_uses_infiniband_its_hcas_are_missed():
    texts = rank(0), rank(1, network="Socket", gdr="")
    found = explain("-", text="".join(text.replace("NET/IB : Using", "x") for text in texts))
    assert "no line lists the HCAs" in " ".join(found.output.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (rank(0), "1 rank of 2 said nothing: 1"),
        (
            rank(0).replace("Using network IB", "x") + rank(1).replace("Using network IB", "x"),
            "which network",
        ),
        (rank(0) + rank(1).replace("; OOB eth0:10.0.0.1<0>", ""), "a list of HCAs is cut"),
        (
            rank(0) + rank(1)[: rank(1).index("/GDRDMA") + 3],
            "no line tells whether GPUDirect RDMA is used on 1 channel: the log is cut off there",
        ),
    ],
)
def test_a_log_that_does_not_tell_enough_is_inconclusive(text, words):
    found = explain("-", text=text)
    assert found.exit_code == 3
    assert words in " ".join(found.output.split()).partition("not known: ")[2]


def test_prefixes_compression_and_several_files_change_nothing(tmp_path):
    plain = explain(NEBIUS)
    packed = tmp_path / "log.gz"
    packed.write_bytes(gzip.compress(NEBIUS.read_bytes()))
    assert explain(packed).output == plain.output
    files = [tmp_path / f"nccl.{number}.log" for number in (0, 1)]
    for number, file in enumerate(files):
        file.write_text("".join(f"[1,{number}]<stdout>: {line}\n" for line in rank(number).splitlines()))
    assert explain(*files).output == explain("-", text=rank(0) + rank(1)).output


@pytest.mark.parametrize(
    ("profile", "status", "words"),
    [
        (
            "lambda-1cc-h100",
            1,
            "FAIL nccl.exclusion: ranks 0-15 (worker-0, worker-1): NCCL uses the excluded mlx5_0:1",
        ),
        ("runpod-instant-cluster", 1, "FAIL nccl.network: ranks 0-15"),
    ],
)
def test_a_profile_turns_it_into_verdicts(profile, status, words):
    found = explain(NEBIUS, "--profile", profile)
    assert found.exit_code == status
    assert words in " ".join(found.output.split())


def test_a_healthy_job_passes_by_a_profile_that_it_fits(tmp_path):
    profile = tmp_path / "two.toml"
    profile.write_text(
        'format = 1\nname = "two"\ntitle = "t"\nsource = "s"\n'
        '[cluster]\nbackend = "nccl"\n[rails]\nkind = "infiniband"\ncount = 1\n'
        'devices = ["mlx5_1"]\nexcluded = ["mlx5_0"]\n'
    )
    found = explain("-", "--profile", profile, text=rank(0) + rank(1))
    assert found.exit_code == 0
    assert found.output.count("PASS  ") == 4


def test_a_rail_too_few_is_no_pass_where_the_profile_gives_their_number_alone():
    seven = " ".join(f"[{at}]mlx5_{at + 1}:1/IB" for at in range(7))
    text = (rank(0) + rank(1)).replace("[0]mlx5_1:1/IB", seven)
    found = explain("-", "--profile", "lambda-1cc-h100", text=text)
    assert found.exit_code == 3
    assert "INCONCLUSIVE  nccl.exclusion" in found.output


def test_sockets_are_as_meant_where_the_profile_has_no_rdma():
    text = "".join(rank(number, network="Socket", gdr="") for number in (0, 1))
    assert "by TCP sockets" in explain("-", text=text).output
    assert "by TCP sockets" not in explain("-", "--profile", "runpod-instant-cluster", text=text).output


def test_a_channel_of_a_smaller_communicator_is_its_process_s_rank():
    text = (rank(0) + rank(1, gdr="")).replace("1[0] -> 0[0]", "7[0] -> 6[0]")
    assert "on no channel to another node (rank 1)" in explain("-", text=text).output


def without(text, *words):
    return "".join(line for line in text.splitlines(True) if not any(word in line for word in words))


def test_a_log_that_ends_among_channels_does_not_pass():
    assert explain("-", text=rank(0) + rank(1)).exit_code == 0
    found = explain("-", text=rank(0) + without(rank(1), "Connected", "COMPLETE"))
    assert found.exit_code == 3
    assert "not known: the log ends among the channels of rank 1: others may follow" in found.output


def test_a_log_without_a_channel_between_its_nodes_does_not_pass():
    found = explain("-", text=without(rank(0) + rank(1), "Channel"))
    assert found.exit_code == 3 and "no line shows a channel to another node" in found.output
    sockets = explain("-", text=without(rank(0, network="Socket") + rank(1, network="Socket"), "Channel"))
    assert "no line shows a channel" not in sockets.output


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["README", "{log}"], "no file at README"),
        (["nccl.log"], "no file at nccl.log"),
        (["logs/of.mine"], "no file at logs/of.mine"),
        (["/"], "/ is a folder: give its logs"),
        (["{log}", "--sockets"], "belong to a SPEC, and were given with a log"),
        (["{log}", "--devices", "mlx5_0"], "belong to a SPEC, and were given with a log"),
    ],
)
def test_what_cannot_be_meant_is_one_line(words, complaint):
    with pytest.raises(Exception, match=complaint):
        explain(*(word.format(log=NEBIUS) for word in words))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "no line of NCCL's log is in"),
        (b"hello\n", "no line of NCCL's log is in"),
        (gzip.compress(NEBIUS.read_bytes())[:5000], "is a gzip file that is cut or damaged"),
        (b"\x1f\x8bnot gzip", "is a gzip file that is cut or damaged"),
    ],
)
def test_a_file_that_is_no_log_is_one_line(tmp_path, content, complaint):
    file = tmp_path / "log"
    file.write_bytes(content)
    with pytest.raises(Exception, match=complaint):
        explain(file)


# as src/*.cc of NVIDIA/nccl print them, and logs that people have posted
TEXTS = {
    "NET/IB : Got completion from peer 10.216.210.236<54862> with status=12 opcode=0 len=0 vendor err 129": "retries",
    "NET/IB: Got completion from peer 1.1.1.1<5> with status=IBV_WC_RETRY_EXC_ERR(12) opcode=x(0)": "retries",
    "NET/IB : Got completion from peer 1.1.1.1<5> with error 5, opcode 0, len 0, vendor err 249": "earlier",
    "NET/IB : Got completion from peer 1.1.1.1<5> with status=4 opcode=0": "refused access to memory",
    "NET/IB : mlx5_2:1 Got non-fatal async event: port error(10)": "event",
    "Call to ibv_reg_mr failed with error Cannot allocate memory": "could not be locked",
    "Call to ibv_reg_mr_iova2 failed with error Bad address": "register GPU memory",
    "Call to ibv_modify_qp failed with 110 Connection timed out, on dev mlx5_0:1": "do not reach each other",
    "Call to ibv_modify_qp failed with error Connection timed out errno 110": "do not reach each other",
    "Bootstrap : no socket interface found": "no interface fits",
    "no device found matching eth9, verify NCCL_OOB_NET_IFNAME": "no interface fits",
    "NET/IB : No IP interface found.": "interface with an address",
    "socketPollConnect: connect to 10.0.0.1<4000> returned Connection refused, exceeded error retry count": "by TCP",
    "socketProgress: Connection closed by remote peer node3<4711>": "another rank ended",
    "socketFinalizeAccept: wrong type 3 != 4": "not this job's NCCL",
    "Message truncated : received 1024 bytes instead of 256": "different lengths",
    "Mismatched NCCL version detected : rank 0 version 22203 rank 1 version 21805": "different versions",
    "NCCL version mismatch with remote peer x (local: 1, remote 2)": "different versions",
    "Mismatched NCCL git versions detected: rank 0 fingerprint 0x0000abcd, rank 9": "different versions",
    "MNNVL busId 0x9000 NVLink fabric health reports DEGRADED_BANDWIDTH (healthMask 0x2)": "not whole",
    "Invalid value many for NCCL_IB_QPS_PER_CONNECTION, using default 1.": "not understood",
    "External network plugin AWS is unsupported": "does not know",
    "Failed to initialize NET plugin AWS": "NCCL_NET",
    "Error: network IB not found.": "NCCL_NET",
    "Failed to initialize any NET plugin": "NCCL_NET",
    "NET/OFI Unable to find a protocol that worked.  Failing initialization.": "AWS",
    "Duplicate GPU detected : rank 0 and rank 1 both on CUDA device 1000": "one GPU",
    "Multiple Ranks are using the same GPU/Partition. Set NCCL_MULTI_RANK_GPU_ENABLE=1 to enable": "one GPU",
    "Error: failed to extend /dev/shm/nccl-abc to 9637892 bytes": "/dev/shm",
    "Error while creating shared memory segment /dev/shm/nccl-x (size 5767520)": "/dev/shm",
    "Failed to bind NVLink SHARP (NVLS) Multicast memory of size 2097152 : CUDA error 801": "fabric manager",
    "P2P is disabled between NVLINK connected GPUs 1 and 0. This should not be the case": "cannot use it",
    "Cuda failure 2 'out of memory'": "used up",
    "Cuda failure 'unspecified launch failure'": "a call to CUDA failed",
    "Failed to open libnvidia-ml.so.1": "NVML",
    "NET/IB : Attempted to connect incompatible devices: [0]mlx5_0:1/IB and [1]mlx5_2:1/RoCE.": "mixed",
    "Detected mixed local Net device counts across ranks (min 7, max 8).": "different numbers",
    "NET/IB : mlx5_0:1 GID table changed": "addresses of an adapter",
    "XML Topology has wrong version 2, 1 needed": "NCCL_TOPO_FILE",
    "Call to ibv_create_qp failed with error Cannot allocate memory": "adapter's library",
    "NET/IB : Got completion from peer 1.1.1.1<5> with status=13 opcode=0": "RNR",
    "NET/IB : Got completion from peer 1.1.1.1<5> with status=9 opcode=0": "between two adapters failed",
    "NUMA auto balancing enabled which can lead to variability in the RCCL performance!": "between sockets",
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_warning_has_the_meaning_of_its_row(text):
    found = meaning_of(text)
    assert found is not None
    assert TEXTS[text] in found.meaning


def test_every_row_of_meanings_is_reached():
    assert {meaning_of(text) for text in TEXTS} == set(MEANINGS)
    assert meaning_of("something else") is None


def test_what_is_not_nccls_costs_nothing_and_what_is_has_a_limit(tmp_path, monkeypatch):
    file = tmp_path / "log"
    file.write_text(rank(0) + "x" * 70_000_000 + "\n" + rank(1))
    assert explain(file).output == explain("-", text=rank(0) + rank(1)).output
    monkeypatch.setattr(text_file.read_stream, "__defaults__", ((), 1000))
    with pytest.raises(ImportRefused, match="has more than 1000 B to read"):
        explain(file)
    monkeypatch.setattr(text_file, "_MOST_READ", 1 << 20)
    file.write_bytes(gzip.compress(b"\n" * (3 << 20)))
    with pytest.raises(ImportRefused, match="has more than 1 MiB: give NCCL's lines alone"):
        explain(file)
