from pathlib import Path

from bench.judge.fabric.judge_fabric import judged
from bench.judge.fabric.links import ExpectedPort
from bench.model.verdict import Status, overall
from bench.probe.fabric.ask_all import look, seen
from bench.probe.fabric.run_tools import ToolExit

DATA = Path(__file__).parents[2] / "probe" / "fabric" / "data"
WANTED = [ExpectedPort("node1 mlx5_2/1", "node1 mlx5_2")]


def answering(state, out=None, err="", code=0):
    """What stands in for the machine: the three tools answer from a recorded fabric."""

    def run(command, limit):
        text = (DATA / f"{command[0]}.{state}.txt").read_text() if out is None else out
        return ToolExit(code, text, err)

    return run


def not_there(command, limit):
    raise FileNotFoundError(command[0])


def status(run, before=None):
    return overall(row.status for row in judged(look(run=run), WANTED, 4, 25e9, "plan", before))


def test_a_healthy_fabric_passes():
    assert status(answering("healthy")) is Status.PASS


def test_faults_fail_and_silence_is_an_error():
    assert status(answering("slow")) is Status.FAIL
    silent = answering("silent", err=(DATA / "ibnetdiscover.silent.err.txt").read_text())
    assert status(silent) is Status.INCONCLUSIVE
    rows = judged(look(run=silent), WANTED, 4, 25e9, "plan")
    assert {row.status for row in rows if row.check in ("fabric.asked", "fabric.complete")} == {
        Status.INCONCLUSIVE
    }


def test_what_is_gone_since_an_earlier_look_fails():
    assert status(answering("slow"), look(run=answering("healthy"))) is Status.FAIL


def test_without_the_tools_there_are_three_reasons_and_nothing_else():
    rows = judged(look(run=not_there), WANTED, 4, 25e9, "plan")
    assert [(row.status, row.measured) for row in rows] == [
        (Status.NOT_APPLICABLE, "ibnetdiscover is not installed"),
        (Status.NOT_APPLICABLE, "iblinkinfo is not installed"),
        (Status.NOT_APPLICABLE, "ibqueryerrors is not installed"),
    ]


def test_answers_of_something_else_do_not_pass():
    rows = judged(look(run=answering("", out="hello\n")), WANTED, 4, 25e9, "plan")
    assert Status.PASS not in {row.status for row in rows if row.check != "fabric.asked"}
    assert overall(row.status for row in rows) is Status.INCONCLUSIVE


def test_noise_on_standard_error_does_no_harm():
    noisy = answering("healthy", err="mlx5: some remark of a driver\n")
    assert status(noisy) is Status.PASS
    assert seen(look(run=noisy)).unanswered == ()


def test_one_tool_that_is_not_installed_leaves_the_others_to_tell():
    def run(command, limit):
        return (
            not_there(command, limit) if command[0] == "iblinkinfo" else answering("healthy")(command, limit)
        )

    rows = judged(look(run=run), WANTED, 4, 25e9, "plan")
    assert {row.status for row in rows if row.check == "fabric.port"} == {Status.PASS}
