"""All that is read out of NCCL's logs, selectors, variables and conf files, held to a golden file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.nccl.distortions import RULES, distortions
from bench.nccl.environment import conf_files, effective
from bench.nccl.explain import explain, explain_interfaces
from bench.nccl.log import read
from bench.nccl.selector import parse, parse_devices
from bench.nccl.version import NEWEST, parse_version
from golden import Golden, opened, shown

LOGS = sorted((Path(__file__).parent / "data").glob("*.txt"))
NODE = "mlx5_0 mlx5_1 mlx5_2 mlx5_3 mlx5_10 mlx5_bond_0 mlx5_4:2"
MOST = 4  # processes of a log that stand there
RAILS = ("mlx5_1:1", "mlx5_2:1", "mlx5_3:1", "mlx5_10:1")
SPECS = (
    None, "", "mlx5", "mlx5_1", "=mlx5_1", "^mlx5_1", "^=mlx5_0", "^=mlx5_0,mlx5_bond_0", "=^mlx5_0", "'^=mlx5_0'",
    "=mlx5_1, mlx5_2", "=mlx5_1:1,mlx5_4:2", "=mlx5_4:1", "=mlx5_4:2:0:1", "=mlx5_1:x", "=mlx5_99", "=mlx5_1,mlx5_1",
    "/dev/mlx5_1", "=eth0", "=mlx5_*", "^", "=", "=mlx5_1,,mlx5_2", f"={','.join(f'a{at}' for at in range(40))}",
    "=" + "m" * 80, "^=mlx5_0,^=mlx5_1",
)  # fmt: skip
INTERFACES = (None, "eth", "=eth0", "^=eth0", "^docker,lo", "=eth1,eth2", "eth1", "=eth9")
TEXTS = {
    "comments": "# a\nNCCL_IB_HCA=mlx5_1\n NCCL_DEBUG=INFO\n#NCCL_NET=Socket\n",
    "odd lines": "NCCL_IB_HCA = mlx5_1\nNCCL_DEBUG\n=x\nNCCL_NET=IB\r\nNCCL_NET=Socket\nFOO=1\n",
    "long": "NCCL_IB_HCA=" + "m" * 5000 + "\nNCCL_DEBUG=WARN\n",
}
VERSIONS = ((2, 18, 3), (2, 19, 3), (2, 22, 3), (2, 25, 1), (2, 28, 9), NEWEST)
VALUES = (
    "",
    "0",
    "1",
    "2",
    "-1",
    "true",
    "yes",
    "x",
    " 1",
    "0x1",
    "Ring",
    "Tree",
    "Socket",
    "IB",
    "LL",
    "^LL128",
)


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Iterator[Golden]:
    names = [*(path.name for path in LOGS), "selectors", "interfaces", "variables", "conf files", "versions"]
    yield from opened(request, Path(__file__).with_name("nccl.txt"), names)


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name)
def test_what_is_read_in_a_log(golden: Golden, path: Path) -> None:
    log = read(path.read_text(errors="replace"))
    golden.hold(path.name, [*(shown(each)[:2000] for each in log.processes[:MOST]), shown(log)[-400:]])


def test_what_is_said_of_selectors(golden: Golden) -> None:
    lines = []
    for spec in SPECS:
        lines += [f"{spec!r}: {shown(parse(spec))[:600]}"]
        for rails in ((), RAILS):
            found = explain(spec, parse_devices(NODE), rails, "a node", ("eth0", "ib0"))
            lines += [found.status.value, *(f"    {line[:400]}" for line in found.text.splitlines())]
    golden.hold("selectors", [*lines, explain("mlx5", ()).text])


def test_what_is_said_of_interfaces(golden: Golden) -> None:
    lines = []
    for spec in INTERFACES:
        for rails in ((), ("eth1", "eth2")):
            found = explain_interfaces(spec, ("eth0", "eth1", "eth2", "docker0", "lo"), rails)
            lines += [found.status.value, *found.text.splitlines()]
    golden.hold("interfaces", lines)


def test_which_variables_distort(golden: Golden) -> None:
    names = dict.fromkeys(rule.name for rule in RULES)
    found = (shown(each) for name in names for value in VALUES for each in distortions({name: value}))
    golden.hold("variables", list(found))


def test_what_conf_files_set(golden: Golden) -> None:
    lines = []
    for version in VERSIONS:
        for environ in (
            {},
            {"NCCL_CONF_FILE": "/c"},
            {"NCCL_IB_HCA": "=mlx5_9", "HOME": "/h", "NCCL_X": " 1"},
        ):
            paths = conf_files(environ, "/home/u", version)
            lines.append(f"{version} {environ}: {paths}")
            for name, text in TEXTS.items():
                found = effective(environ, dict.fromkeys(paths[:1], text), version, "/home/u")
                lines.append(f"    {name}: {shown(found)[:900]}")
    golden.hold("conf files", lines)


def test_which_versions_are_read(golden: Golden) -> None:
    texts = (
        "2.18.5",
        "v2.22",
        "2.28.9+cuda13.0",
        "2.22.3-HEAD:271856d",
        "2",
        "x2.1",
        "2.1234",
        "2.12345",
        " 2.3.4 ",
    )
    golden.hold("versions", [f"{text!r}: {parse_version(text)}" for text in texts])
