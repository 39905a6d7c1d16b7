"""One node as its watch sees it: devices, queues, errors, and the Inspector's files."""

from pathlib import Path

from bench.model.activity import DeviceActivity, NodeActivity, joined
from bench.probe.tcp_sockets import SocketQueue
from bench.supervise.node_watch import DEEP, InspectorFiles, NodeWatch, QueueTally
from nccl.test_inspector import PLAIN


def interface(root: Path, name: str, sent: int, received: int, errors: int = 0, state: str = "up") -> None:
    folder = root / "sys/class/net" / name
    (folder / "statistics").mkdir(parents=True, exist_ok=True)
    (folder / "operstate").write_text(f"{state}\n")
    for counter, value in (("tx_bytes", sent), ("rx_bytes", received), ("rx_errors", errors)):
        (folder / "statistics" / counter).write_text(f"{value}\n")


def port(root: Path, sent: int, errors: int) -> None:
    folder = root / "sys/class/infiniband/mlx5_1/ports/1"
    (folder / "counters").mkdir(parents=True, exist_ok=True)
    (folder / "state").write_text("4: ACTIVE\n")
    for counter, value in (("port_xmit_data", sent), ("port_rcv_data", 0), ("symbol_error", errors)):
        (folder / "counters" / counter).write_text(f"{value}\n")


def test_a_second_holds_what_each_device_carried_in_it(tmp_path):
    interface(tmp_path, "eth1", 1000, 500, errors=3)
    port(tmp_path, 100, 0)
    now = [10.0]
    watch = NodeWatch(tmp_path, clock=lambda: now[0])
    interface(tmp_path, "eth1", 5000, 700, errors=5, state="down")
    port(tmp_path, 300, 2)
    now[0] = 11.0
    first = watch.take()
    assert first.span == 1.0
    assert (first.devices["eth1"].sent, first.devices["eth1"].received, first.devices["eth1"].up) == (
        4000,
        200,
        False,
    )
    assert (first.devices["mlx5_1/1"].sent, first.devices["mlx5_1/1"].up) == (800, True)
    assert first.errors == {"eth1 rx_errors": 2, "mlx5_1/1 symbol_error": 2}
    now[0] = 12.0
    assert watch.take().devices["eth1"].sent == 0


def test_a_counter_that_was_reset_is_not_known_for_that_second(tmp_path):
    interface(tmp_path, "eth1", 1000, 0)
    watch = NodeWatch(tmp_path)
    interface(tmp_path, "eth1", 10, 0)
    assert watch.take().devices["eth1"].sent is None
    interface(tmp_path, "eth1", 30, 0)
    assert watch.take().devices["eth1"].sent == 20


def test_a_device_that_vanishes_is_down(tmp_path):
    interface(tmp_path, "eth1", 1000, 0)
    watch = NodeWatch(tmp_path)
    for path in sorted((tmp_path / "sys/class/net/eth1").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "sys/class/net/eth1").rmdir()
    assert watch.take().devices == {"eth1": DeviceActivity(up=False)}
    assert watch.take().devices == {"eth1": DeviceActivity(up=False)}


def test_queues_are_counted_by_the_device_of_their_address():
    tally = QueueTally({"10.0.1.1": "eth1", "10.0.2.1": "eth2"})
    tally.add(
        (SocketQueue("10.0.1.1", "10.0.1.2", DEEP, 0), SocketQueue("10.0.1.1", "10.0.1.3", 9 * DEEP, 0))
    )
    tally.add(
        (SocketQueue("10.0.1.1", "10.0.1.2", DEEP - 1, 0), SocketQueue("10.0.2.1", "10.0.2.2", 0, DEEP))
    )
    assert tally.share(tally.waiting, "eth1") == 0.5
    assert tally.share(tally.waiting, "eth2") == 0.0
    assert tally.share(tally.unread, "eth2") == 0.5
    assert tally.most("eth1") == "10.0.1.3"
    assert tally.most("eth2") == ""


def test_a_connection_to_this_machine_is_the_loopbacks():
    tally = QueueTally({"10.0.1.1": "eth1"})
    tally.add((SocketQueue("10.0.1.1", "10.0.1.1", DEEP, 0),))
    assert tally.share(tally.waiting, "lo") == 1.0
    assert tally.share(tally.waiting, "eth1") == 0.0


def test_only_new_whole_lines_of_the_inspectors_files_are_read(tmp_path):
    log = tmp_path / "n1-pid7.log"
    log.write_text(PLAIN + "\n")
    files = InspectorFiles(tmp_path)
    assert files.new() == ()
    with log.open("a") as file:
        file.write(PLAIN + "\n" + PLAIN[:50])
    (tmp_path / "n1-pid8.log").write_text(PLAIN + "\n")
    assert [each.calls for each in files.new()] == [2]
    with log.open("a") as file:
        file.write(PLAIN[50:] + "\n")
    assert [each.calls for each in files.new()] == [1]
    assert files.new() == ()


def test_a_folder_of_the_inspector_that_is_not_there_yet_is_awaited(tmp_path):
    files = InspectorFiles(tmp_path / "later")
    assert files.new() == ()
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "n1-pid7.log").write_text(PLAIN + "\n")
    assert [each.calls for each in files.new()] == [1]


def test_spans_are_joined_by_their_looks():
    first = NodeActivity(
        1.0, 10, {"eth1": DeviceActivity(100, 10, True, 0.5, 0.0, "a")}, {"eth1 rx_errors": 1}
    )
    then = NodeActivity(
        3.0, 30, {"eth1": DeviceActivity(300, None, False, 0.9, 0.0, "b")}, {"eth1 rx_errors": 4}
    )
    both = joined([first, then])
    assert (both.span, both.looks, both.errors) == (4.0, 40, {"eth1 rx_errors": 4})
    assert both.devices["eth1"] == DeviceActivity(400, None, False, 0.8, 0.0, "b")
