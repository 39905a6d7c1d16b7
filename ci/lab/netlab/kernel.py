"""The edge to the kernel: commands, namespaces, mounts and the processes inside. Linux, root.

Entering a namespace is done here and not by ``ip netns exec``, which would leave a node with an empty
/sys/fs/cgroup, the machine's own hostname and a /dev/shm shared by all nodes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from netlab.plan import LabError

NETNS = Path("/run/netns")
_COMMAND_LIMIT = 60.0  # s for one call of ip, tc or nft
_KILL_LIMIT = 15.0  # s until killed processes are gone
# <sched.h> and <sys/mount.h>
_NEWNS, _NEWUTS, _NEWNET = 0x0002_0000, 0x0400_0000, 0x4000_0000
_BIND, _REC, _SLAVE, _DETACH = 0x1000, 0x4000, 0x8_0000, 2


def run(words: list[str], text: str = "", keep: tuple[int, ...] = ()) -> str:
    """What a command printed; LabError with its own words when it fails or takes too long.

    ``keep`` are file descriptors that it holds open: a lock stays taken until the last one ends.
    """
    try:
        done = subprocess.run(
            words,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=_COMMAND_LIMIT,
            pass_fds=keep,
        )
    except FileNotFoundError as error:
        raise LabError(f"{words[0]} is not here; next: apt-get install iproute2 nftables") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(words)} took longer than {_COMMAND_LIMIT:g} s") from error
    if done.returncode:
        raise LabError(
            f"{' '.join(words)} failed: {' '.join(done.stderr.split())}; its input was: {text.strip()}"
        )
    return done.stdout


def leave_running(words: list[str]) -> None:
    """Starts a command that outlives this one; whoever ends the namespace's processes ends it."""
    quiet = subprocess.DEVNULL
    subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


_LIBC = ctypes.CDLL(None, use_errno=True)


def _call(function: str, *arguments: object) -> None:
    if getattr(_LIBC, function)(*arguments):
        code = ctypes.get_errno()
        raise LabError(f"{function}{arguments} failed: {os.strerror(code)}")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    _call(
        "mount",
        source.encode(),
        target.encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        options.encode() or None,
    )


def unmount(target: Path) -> None:
    """Takes off all that is mounted there, in use or not."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    for _ in range(sum(line.split()[4] == str(target) for line in mounts)):
        _call("umount2", os.fsencode(target), _DETACH)


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This process on that namespace's network for a while: /proc/sys/net and /proc/net are its own."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    away = _open_namespace(namespace)
    try:
        _call("setns", away, _NEWNET)
        try:
            yield
        finally:
            _call("setns", home, _NEWNET)
    finally:
        os.close(away)
        os.close(home)


def _open_namespace(namespace: str) -> int:
    try:
        return os.open(NETNS / namespace, os.O_RDONLY)
    except OSError as error:
        raise LabError(f"namespace {namespace} is not here: {error.strerror}; next: ci/lab/net up") from error


def sysctl(namespace: str, text: str) -> None:
    """Writes lines of ``net/ipv4/x=1``; IPv6 ones are left out where the kernel has no IPv6."""
    with inside(namespace):
        for line in text.splitlines():
            path, value = line.split("=")
            file = Path("/proc/sys") / path
            if "/ipv6/" not in path or file.exists():
                file.write_text(value)


def enter(namespace: str, hostname: str, binds: Mapping[str, str]) -> None:
    """This process onto a node, for good: its network, hostname, /sys and ``binds`` (target: source).

    Mounts are private to it and its children, and vanish with them. /sys shows the node's interfaces
    and keeps the machine's cgroups, as on a real node.
    """
    away = _open_namespace(namespace)
    _call("setns", away, _NEWNET)
    os.close(away)
    _call("unshare", _NEWNS | _NEWUTS)
    socket.sethostname(hostname)
    mount("", "/", flags=_REC | _SLAVE)
    cgroups = os.open("/sys/fs/cgroup", os.O_RDONLY) if Path("/sys/fs/cgroup").is_dir() else None
    mount("sysfs", "/sys", "sysfs")
    if cgroups is not None:
        mount(f"/proc/self/fd/{cgroups}", "/sys/fs/cgroup", flags=_BIND | _REC)
        os.close(cgroups)
    for target, source in binds.items():
        if Path(target).exists():
            mount(source, os.path.realpath(target), flags=_BIND)


def namespaces(start: str) -> list[str]:
    """Names of the network namespaces that start so, finished or left half-made by a killed command."""
    return sorted(path.name for path in NETNS.glob(f"{start}*"))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def processes(names: Iterable[str]) -> dict[int, str]:
    """{pid: namespace} of every process in them; a zombie is in none."""
    homes = {_identity(NETNS / name): name for name in names}
    homes.pop(None, None)
    found = {}
    for path in Path("/proc").iterdir() if homes else ():
        home = homes.get(_identity(path / "ns" / "net")) if path.name.isdigit() else None
        if home:
            found[int(path.name)] = home
    return found


def command(pid: int) -> str:
    """A process's state and command line, such as ``S python3 x.py``; empty when it is gone."""
    try:
        line = (
            (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
        state = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
    return f"{state} {line.strip()}"


def called(pid: int) -> str:
    """The name that a process bears, as ``ps -o comm`` shows it; empty when it is gone."""
    try:
        return (Path("/proc") / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def parent(pid: int) -> int:
    """Of a process; 0 when it is gone."""
    try:
        return int(
            (Path("/proc") / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
        )
    except OSError:
        return 0


def end(ours: Callable[[], set[int]]) -> None:
    """Kills until ``ours`` finds no process; a number that went to another process meanwhile is spared."""
    limit = time.monotonic() + _KILL_LIMIT
    while pids := ours():
        if time.monotonic() > limit:
            raise LabError(f"processes {sorted(pids)} were killed and did not end in {_KILL_LIMIT:g} s")
        handles = {pid: handle for pid in pids if (handle := _handle(pid)) is not None}
        for pid in ours() & set(handles):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handles[pid], signal.SIGKILL)
        for handle in handles.values():
            os.close(handle)
        time.sleep(0.02)


def _handle(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
