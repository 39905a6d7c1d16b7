"""One message of NCCL's log → the facts in it: a table of patterns.

Every pattern is anchored and bounded, so that no text makes it slow; a message that a pattern does not
match whole is no fact of that kind. Formats: NVIDIA/nccl, tags v2.4.8-1 to v2.30.7-1, and 2.31.2 as it is vendored in
meta-pytorch/torchcomms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from bench.nccl.log_facts import (
    AsyncEvent,
    ChannelCounts,
    Completion,
    Connected,
    Diagnosed,
    DirectRdma,
    Hca,
    HcaSeen,
    LogChannel,
    LogInterface,
    LogSetting,
    Member,
    Network,
    NoDevice,
    Sockets,
    Tuned,
    Using,
    VersionSeen,
    VirtualDevice,
    Warned,
)
from bench.nccl.log_lines import LogLine

WARNS = ("WARN", "ATTN")  # from 2.32 a part of the warnings is printed as ATTN
_VERSION = re.compile(r"[NR]CCL version ?: {0,4}v?(\d+\.\d+\.\d+\S*)|[NR]CCL version v?(\d+\.\d+\.\d+\S*)")


def version_in(text: str) -> str:
    """``2.28.9+cuda13.0`` of a version line, with or without a header; "" where there is none."""
    match = _VERSION.search(text)
    return (match[1] or match[2]).rstrip(",;)") if match else ""


# printed past NCCL's own log, without a thread and a device
_DIAGNOSED = re.compile(r"\S{1,255}:\d{1,10} NCCL DIAG (?:\[(\w{1,16})\] {0,8})?(.*)")


def diagnosed_in(text: str, number: int) -> Diagnosed | None:
    """A line of NCCL's diagnostics of a communicator; None where it is none."""
    match = _DIAGNOSED.search(text)
    return Diagnosed(match[1] or "", match[2].rstrip(), number) if match else None


_USING = re.compile(r"NET/([\w.+-]{1,32}) {0,1}: Using(?= |$)")
_SOCKETS = ("Socket", "FastSocket")
# %d prints no leading zero: a number that has one was spoilt on its way
_HCA = re.compile(
    r" ?\[(0|[1-9]\d{0,3})\] ?([\w.\-]{1,68}):([1-9]\d{0,4})(?::(0|[1-9]\d{0,8})?)?(?::(0|[1-9]\d{0,8}))?"
    r"/(IB|RoCE|UNSPECIFIED)(/SHARP)?(?=[ ,}]|$)"
)
_MERGED = re.compile(r" ?\[(0|[1-9]\d{0,3})\]=\{")
_INTERFACE = re.compile(r" ?\[(\d{1,4})\]([^\s:]{1,64}):(\S{1,128}?<\d{1,5}>)(?= |$)")
# the lengths at which NCCL's own line buffers (1024, from 2.20 2048 bytes) end a list without a word
_BUFFER_ENDS = (1022, 1023, 2046, 2047)


def _using(line: LogLine) -> Iterator[object]:
    head = _USING.match(line.text)
    if head and head[1] in _SOCKETS:
        # "NET/Socket: Using 2 threads and 8 sockets per thread" is no list: that begins with an item, or is empty
        if line.text[head.end() :].lstrip()[:1].isdigit():
            return
        yield _sockets(head[1], line.text[head.end() :], line.cut)
    elif using := using_in(line.text, line.number):
        yield using


def using_in(text: str, number: int) -> Using | None:
    """The list of HCAs that a text starts with; None where it does not."""
    head = _USING.match(text)
    if not head or head[1] in _SOCKETS or text.startswith(" interface ", head.end()):
        return None
    listed, closed, oob = text[head.end() :].partition("; OOB ")
    listed = listed.strip()
    relaxed = listed.endswith("[RO]")
    body = listed.removesuffix("[RO]").rstrip()
    hcas, whole = _hcas(body)
    # NCCL's buffer holds a blank before the first item
    whole = whole and bool(closed) and len(body) + 1 not in _BUFFER_ENDS
    return Using(head[1], hcas, whole, relaxed, oob.strip(), listed, number)


def _hcas(body: str) -> tuple[tuple[Hca, ...], bool]:
    """The items of a list, and whether nothing but items was in it, numbered 0, 1, 2 ..., none twice."""
    hcas: list[Hca] = []
    merged: int | None = None
    virtual: list[int] = []
    at = 0
    while at < len(body):
        group, item = _MERGED.match(body, at), _HCA.match(body, at)
        if group and merged is None:
            merged, at = int(group[1]), group.end()
            virtual.append(merged)
        elif item:
            hcas.append(_hca(item, merged))
            at = item.end()
        elif merged is not None and body.startswith(", ", at):
            at += 1
        elif merged is not None and body[at] == "}":
            merged, at = None, at + 1
        else:
            break
    ordered = [hca.index for hca in hcas] == list(range(len(hcas)))
    distinct = len({(hca.name, hca.port) for hca in hcas}) == len(hcas)
    return tuple(hcas), at == len(body) and merged is None and ordered and distinct and len(
        set(virtual)
    ) == len(virtual)


def _hca(item: re.Match[str], merged: int | None) -> Hca:
    rail, plane = (int(number) if number else None for number in (item[4], item[5]))
    return Hca(int(item[1]), item[2], int(item[3]), item[6], bool(item[7]), rail, plane, merged)


def _sockets(network: str, listed: str, cut: bool) -> Sockets:
    found, at = [], 0
    while item := _INTERFACE.match(listed, at):
        found.append(LogInterface(int(item[1]), item[2], item[3]))
        at = item.end()
    ordered = [one.index for one in found] == list(range(len(found)))
    complete = not listed[at:].strip() and ordered and not cut
    return Sockets(network, tuple(found), complete, listed.strip())


_CHANNEL = re.compile(
    r"(?:Ring|Channel) (\d{1,4})(?:/\d{1,4})? : (\d{1,7})(?:\[[0-9a-f]{1,16}\])?"
    r" -> (\d{1,7})(?:\[[0-9a-f]{1,16}\])? (?:\[(send|receive)\] )?via "
)
_COLLNET = re.compile(r"Coll(?:Net)? (\d{1,4})(?:/\d{1,4})? : (\d{1,7}) \[(send|receive)\] via ")
_NET = re.compile(r"(NET|COLLNET)/([^/]{1,64})/(\d{1,4})(?:\((\d{1,7})\))?(.*)\Z", re.DOTALL)
# from 2.31 a receiver says how it flushes; RCCL adds the communicator to every channel line
_NET_END = re.compile(
    r"(/GDRDMA(?:\([A-Za-z0-9]{1,16}\))?)?(?:/Shared)?(?:/flush=[A-Za-z0-9]{1,16})?"
    r"(?: comm 0x[0-9a-f]{1,16} nRanks \d{1,7})? *\Z"
)


def _channel(line: LogLine) -> Iterator[object]:
    head = _CHANNEL.match(line.text)
    if head:
        number, source, target, direction = int(head[1]), int(head[2]), int(head[3]), head[4] or ""
    else:
        head = _COLLNET.match(line.text)
        if not head:
            return
        number, source, target, direction = int(head[1]), int(head[2]), int(head[2]), head[3]
    detail = line.text[head.end() :].rstrip()
    net = _NET.match(detail)
    if not net:
        transport = (
            "SHM" if detail.startswith("direct shared memory") else re.split(r"[/ ]", detail, maxsplit=1)[0]
        )
        yield LogChannel(transport, number, source, target, direction, detail, line.number)
        return
    end = _NET_END.match(net[5])
    known = end is not None and not line.cut
    yield LogChannel(
        net[1],
        number,
        source,
        target,
        direction,
        detail,
        line.number,
        network=net[2],
        device=int(net[3]),
        proxy=int(net[4]) if net[4] else None,
        gdr=bool(end[1]) if known and end else None,
    )


_MEMBER = re.compile(
    r"(?:\[Rank \d{1,7}\] )?(?:\w{1,64} )?comm (0x[0-9a-fA-F]{1,16})"
    r" rank (0|[1-9]\d{0,6}) n[rR]anks ([1-9]\d{0,6}) (?=\w)"
)
_STAGE = re.compile(r"- ((?:Init|Destroy|Abort|Revoke) (?:START|COMPLETE))")
MOST_RANKS = 1 << 18  # no job has so many; for each rank that a line claims something is looked up
_NODES = re.compile(r"nNodes (\d{1,7}) ")
_DEVICE = re.compile(r"cudaDev (\d{1,5}) ")
_ID = re.compile(r"commId (0x[0-9a-fA-F]{1,16}) ")
_NODE_RANKS = re.compile(r"localRanks (\d{1,7}) ")
_BUS = re.compile(r"busId (?:0x)?([0-9a-fA-F]{1,16}) ")


def _member(line: LogLine) -> Iterator[object]:
    head = _MEMBER.match(line.text)
    if head and int(head[2]) < int(head[3]) <= MOST_RANKS:
        stage, nodes, device, number, here, bus = (
            pattern.search(line.text, head.end())
            for pattern in (_STAGE, _NODES, _DEVICE, _ID, _NODE_RANKS, _BUS)
        )
        yield Member(
            rank=int(head[2]),
            nranks=int(head[3]),
            stage=stage[1] if stage else "",
            comm=head[1],
            nodes=int(nodes[1]) if nodes else 0,
            device=int(device[1]) if device else None,
            line=line.number,
            id=number[1] if number else "",
            node_ranks=int(here[1]) if here else 0,
            bus=bus[1].lower().lstrip("0") if bus else "",
        )


_COUNTS = re.compile(
    r"(\d{1,6}) coll channels, (?:\d{1,6} collnet channels, )?(?:\d{1,6} nvls channels, )?(\d{1,6}) p2p "
)
_DIRECT = re.compile(
    r"NET/[^:]{1,40}: GPU Direct RDMA (?:\([\w-]{1,20}\) )?([Ee]nabled|[Dd]isabled)"
    r" for HCA \d{1,4} '([^']{1,68})"
)
_SEEN = re.compile(
    r"NET/IB {0,1}: {0,2}\[\d{1,4}\] ([\w.\-]{1,68}):[^\s:]{1,68}:(\d{1,5})/(IB|RoCE|UNSPECIFIED) "
)
_SET = re.compile(r"(?:NET/IB: )?([A-Z][A-Z0-9_]{2,80}) set (?:by environment )?to (.*)", re.DOTALL)
# a name with other characters in it goes on with what another rank wrote into the line
_NETWORK = re.compile(r"Using network ([\w .+/-]{1,80})|Assigned NET plugin ([\w .+/-]{1,80}) to comm")
_VIRTUAL = re.compile(r"NET/IB : Made virtual device \[(\d{1,4})\] name=([\w.+-]{1,256}) ")
_ALGORITHM = re.compile(r"(?:(\w{1,40}): )?(\d{1,20}) Bytes -> Algo (\w{1,40}) proto (\w{1,20}) ")
_KERNEL = re.compile(r"(\w{1,40}) \[([^\]]{1,40})\]: (\d{1,20}) Bytes -> (?:Kernel )?(\S{1,80})")
_ALGORITHMS = ("Tree", "Ring", "CollNetDirect", "CollNetChain", "NVLS", "NVLSTree", "PAT")
_PROTOCOLS = ("LL", "LL128", "Simple")
_COMPLETION = re.compile(
    r"Got completion (?:from peer (\S{1,128}) )?with (?:error |status=)(?:[A-Za-z][^()]{0,60}\()?(\d{1,5})"
)
_HCA_END = re.compile(r" hca ([\w.\-]{1,68})\s*\Z")
_ASYNC = re.compile(
    r"NET/[^:]{1,40}:(?: ([\w.\-]{1,68}):\d{1,5})?"
    r" (?:Got )?(?:async (?:fatal |error )?event|non-fatal async event)(.*)",
    re.DOTALL,
)


def _counts(line: LogLine) -> Iterator[object]:
    if match := _COUNTS.match(line.text):
        yield ChannelCounts(int(match[1]), int(match[2]))


def _direct(line: LogLine) -> Iterator[object]:
    if match := _DIRECT.match(line.text):
        yield DirectRdma(match[1].lower() == "enabled", match[2])


def _net_ib(line: LogLine) -> Iterator[object]:
    if re.match(r"NET/\w{1,32} ?: No device found", line.text):
        yield NoDevice()
    elif match := _SEEN.match(line.text):
        yield HcaSeen(match[1], int(match[2]), match[3])
    elif match := _VIRTUAL.match(line.text):
        yield VirtualDevice(int(match[1]), tuple(match[2].split("+")))


def _network(line: LogLine) -> Iterator[object]:
    if match := _NETWORK.fullmatch(line.text.rstrip()):
        yield Network(match[1] or match[2], bool(match[2]))


def _connected(line: LogLine) -> Iterator[object]:
    if line.text.startswith("Connected all ") and not line.cut:
        yield Connected(line.number)


def _setting(line: LogLine) -> Iterator[object]:
    if not line.cut and (match := _SET.match(line.text)):
        value = match[2]
        # NCCL ends numbers with a full stop, and only numbers
        yield LogSetting(match[1], value[:-1] if re.fullmatch(r"-?\d{1,20}\.", value) else value)


def _tuned(line: LogLine) -> Iterator[object]:
    if match := _ALGORITHM.match(line.text):
        algorithm, protocol = _name(match[3], _ALGORITHMS), _name(match[4], _PROTOCOLS)
        yield Tuned(match[1] or "", int(match[2]), algorithm, protocol)
    elif match := _KERNEL.match(line.text):
        yield Tuned(match[1], int(match[3]), f"{match[2]} {match[4]}", "")


def _name(text: str, names: tuple[str, ...]) -> str:
    """The name of an algorithm or protocol, which NCCL up to 2.23 prints as a number."""
    return names[int(text)] if text.isascii() and text.isdigit() and int(text) < len(names) else text


def _version(line: LogLine) -> Iterator[object]:
    if version := version_in(line.text):
        yield VersionSeen(version)


def _completion(line: LogLine) -> Iterator[object]:
    if line.level in WARNS and (match := _COMPLETION.search(line.text)):
        hca = _HCA_END.search(line.text[-80:])
        yield Completion(match[1] or "", int(match[2]), hca[1] if hca else "", line.number)


def _async(line: LogLine) -> Iterator[object]:
    if line.level in WARNS and (match := _ASYNC.match(line.text)):
        yield AsyncEvent(match[1] or "", match[2].lstrip(" :").rstrip(), line.number)


# a text that the message must hold, so that most patterns are not tried on most lines
_READERS: tuple[tuple[str, Callable[[LogLine], Iterator[object]]], ...] = (
    (" via ", _channel),
    (": Using", _using),
    ("NET/", _net_ib),
    ("Using network ", _network),
    ("Assigned NET plugin ", _network),
    ("Connected all ", _connected),
    ("comm 0x", _member),
    (" coll channels", _counts),
    ("GPU Direct RDMA", _direct),
    (" set ", _setting),
    (" Bytes -> ", _tuned),
    ("CCL version", _version),
    ("Got completion", _completion),
    ("async", _async),
)


def facts_in(line: LogLine) -> Iterator[object]:
    """Every fact in one message; most messages hold none or one, a warning at least itself."""
    if line.level in WARNS:
        yield Warned(line.where, line.text.rstrip(), line.number)
    for sign, reader in _READERS:
        if sign in line.text:
            yield from reader(line)
