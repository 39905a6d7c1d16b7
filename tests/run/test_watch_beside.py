"""A real watch of this machine, from the command to the report."""

import json
import signal
import socket
import threading

import mpi_jobs
from bench.store import load


def test_a_watch_keeps_what_a_connection_carried_and_judges_it(tmp_path):
    out, stop = tmp_path / "run", threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        reader, _ = server.accept()

        def traffic():
            while not stop.is_set():
                sender.sendall(bytes(1 << 20))
                left = 1 << 20
                while left:
                    left -= len(reader.recv(left))
                stop.wait(0.05)

        thread = threading.Thread(target=traffic)
        thread.start()
        try:
            done = mpi_jobs.railgauge("watch", "--minutes", "0.05", "--out", out)
        finally:
            stop.set()
            thread.join()
            sender.close()
            reader.close()
    assert done.returncode == 3  # 3 s are too short to say anything
    assert "watching 1 node" in done.stderr
    run = load(out)
    assert run.ended
    assert sum(line.activity.devices["lo"].sent for line in run.activity) > 1 << 20
    assert [line.when for line in run.counters] == ["before", "after"]
    assert (out / "report.html").exists()
    assert any(line.strip().startswith(f"{run.manifest.nodes[0]} lo ") for line in done.stdout.splitlines())


def test_an_interrupt_is_the_usual_end_of_a_watch(tmp_path):
    out = tmp_path / "run"
    job = mpi_jobs.start("watch", "--out", out)
    mpi_jobs.wait_until(lambda: (out / "activity.jsonl").exists(), "the first second")
    job.send_signal(signal.SIGINT)
    said, _ = job.communicate(timeout=60)
    assert "interrupted by" not in said
    run = load(out)
    assert run.ended
    assert [line.when for line in run.counters] == ["before", "after"]
    verdicts = json.loads((out / "verdicts.json").read_text())["verdicts"]
    assert {each["check"]: each["status"] for each in verdicts}["coverage.end"] == "pass"
