"""An interrupted run goes on at its missing cases, on its own cluster, and rewrites nothing."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import test_readings as ring
from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge
from bench.judge.wire.counters import carried
from bench.model import typed_json
from bench.model.facts import Node
from bench.model.measurement import Rank
from bench.model.run_folder_lines import CounterLine, PhaseMark
from bench.run.cluster_changes import unlike as unlike_nodes
from bench.run.resume import ResumeRefused, remaining, resumable, unlike
from bench.run.without_sick_nodes import preflight
from bench.store import FACTS, JOURNAL, NOT_TRIED, Loss, Phase, Plan, Recorder, RunError, SetAside, load
from bench.store.case_progress import case_progress
from made_nodes import LAMBDA, nodes, with_gpu, with_host, with_port, with_software
from runs import LOCAL, cases, folder, measured

NODES = nodes(2)
RANKS = tuple(Rank(index, NODES[index // 2].name, index % 2, "cuda:0 H100") for index in range(4))
VERSIONS = {"railgauge": "0"}


def interrupted(path, done=2, losses=(), names=("all_reduce", "all_gather")):
    """A run whose first ``done`` cases were measured."""
    planned = cases(names=names)
    rows = [row for case in planned[:done] for row in measured(case)]
    folder(path, rows, planned, end=False)
    if losses:
        with Recorder(path, again=True) as recorder:
            for loss in losses:
                recorder.loss(loss)
    return load(path), planned


def test_what_was_measured_is_reused_and_the_rest_is_missing(tmp_path):
    run, planned = interrupted(tmp_path / "run")
    found = case_progress(run)
    assert found.measured == {case.id for case in planned[:2]}
    assert found.missing == {case.id for case in planned[2:]} and not found.lost
    assert found.text == f"2 of {len(planned)} cases are reused, {len(planned) - 2} are missing"
    plan = Plan((Phase("collectives", "", tuple(planned), seconds=float(len(planned))),))
    (left,) = remaining(run, plan)
    assert left.phase.cases == tuple(planned[2:]) and left.phase.seconds == len(planned) - 2


def test_a_case_that_was_lost_stays_lost_and_one_that_nobody_tried_is_missing(tmp_path):
    planned = cases()
    losses = (
        Loss(planned[2].id, "it hung", "rank 1"),
        Loss(planned[3].id, f"{NOT_TRIED}: the phase broke", ""),
    )
    run, _ = interrupted(tmp_path / "run", losses=losses)
    found = case_progress(run)
    assert found.lost == {planned[2].id} and planned[3].id in found.missing
    assert "1 stays lost" in found.text


def test_a_case_whose_process_was_killed_is_measured_again_and_its_loss_is_history(tmp_path):
    planned = cases()
    who = "n1 (rank 1): its worker was killed by SIGKILL"
    losses = (
        Loss(planned[2].id, who, "n1 (rank 1)", died=True),
        Loss(planned[3].id, "no progress for 60 s", "n1 (rank 1)"),
        Loss("after collectives", "n1 (rank 1): its supervisor is gone", "n1 (rank 1)", died=True),
        Loss(planned[-1].id, who, "n1 (rank 1)", died=True),
    )
    run, _ = interrupted(tmp_path / "run", losses=losses)
    assert run.losses == losses
    assert {planned[2].id, planned[-1].id} <= case_progress(run).missing and case_progress(run).lost == {
        planned[3].id
    }
    with Recorder(run.path, again=True) as recorder:
        for row in measured(planned[2]):
            recorder.measurement(row)
    whole = load(run.path)
    assert whole.losses == losses[1:], "a run that has not come to its end has lost who left it"
    assert f"{who}; it cost {planned[2].id}, which was measured when the run went on" in whole.notes
    with Recorder(run.path, again=True) as recorder:
        recorder.end()
    assert load(run.path).losses == (losses[1], losses[3]), "a hang stays, and what was not measured since"


def test_a_case_that_was_killed_after_it_was_measured_on_one_group_stays_to_be_measured(tmp_path):
    planned = [replace(case, groups=((0,), (1,))) for case in cases()]
    folder(tmp_path / "run", measured(planned[0])[:1], planned, end=False)
    with Recorder(tmp_path / "run", again=True) as recorder:
        recorder.loss(Loss(planned[0].id, "killed", "n1 (rank 1)", died=True))
    run = load(tmp_path / "run")
    assert planned[0].id in case_progress(run).missing and len(run.losses) == 1


def test_a_case_that_was_measured_on_some_of_its_groups_is_missing(tmp_path):
    planned = [replace(case, groups=((0,), (1,))) for case in cases()]
    folder(tmp_path / "run", measured(planned[0])[:1], planned, end=False)
    assert case_progress(load(tmp_path / "run")).missing == {case.id for case in planned}


def test_when_it_went_on_nothing_of_the_journal_was_rewritten_and_the_whole_is_one_run(tmp_path):
    planned = cases()
    loss = Loss(planned[-1].id, f"{NOT_TRIED}: the phase broke 2 times in a row", "")
    run, _ = interrupted(tmp_path / "run", losses=(loss,))
    before = (run.path / JOURNAL).read_bytes()
    with Recorder(run.path, again=True) as recorder:
        recorder.add(PhaseMark("collectives", "begin", cases=2))
        for case in planned[2:]:
            for row in measured(case):
                recorder.measurement(row)
        recorder.end()
    whole = load(run.path)
    assert (run.path / JOURNAL).read_bytes().startswith(before)
    assert not case_progress(whole).missing and whole.ended is not None
    assert whole.losses == ()
    assert whole.earlier == {case.id for case in planned[:2]}


@settings(max_examples=12)
@given(cut=st.integers(1, 4000))
def test_a_journal_cut_at_any_byte_goes_on_and_loses_the_cut_line_alone(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "run"
    _, planned = interrupted(path)
    journal = path / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole[: max(1, len(whole) - cut)])
    kept = len(load(path).measurements)
    with Recorder(path, again=True) as recorder:
        for row in measured(planned[-1]):
            recorder.measurement(row)
    after = load(path)
    assert len(after.measurements) == kept + 1 and after.measurements[-1].case == planned[-1].id
    assert not [note for note in after.notes if "damaged" in note], "what is measured again is no damage"


def test_a_run_that_is_still_being_written_is_not_resumed(tmp_path):
    path = tmp_path / "run"
    run, _ = interrupted(path)
    with (
        Recorder(path, again=True),
        pytest.raises(RunError, match="still being written") as refused,
    ):
        Recorder(path, again=True)
    assert refused.value.exit_status == 2
    with Recorder(path, again=True):
        assert load(path).manifest == run.manifest


def test_the_journal_is_not_followed_through_a_link(tmp_path):
    path = tmp_path / "run"
    interrupted(path)
    (path / JOURNAL).rename(tmp_path / "elsewhere")
    (path / JOURNAL).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="cannot go on"):
        Recorder(path, again=True)


@pytest.mark.parametrize(
    "command", [("railgauge", "nightly"), ("railgauge", "soak"), ("railgauge", "probe"), ()]
)
def test_only_accept_and_run_go_on(tmp_path, command):
    run, _ = interrupted(tmp_path / "run")
    with pytest.raises(ResumeRefused, match="only runs of railgauge accept and railgauge run can be"):
        resumable(replace(run, manifest=replace(run.manifest, command=command)))


def test_a_run_without_a_plan_has_nothing_to_reuse(tmp_path):
    run, _ = interrupted(tmp_path / "run")
    resumable(run)
    with pytest.raises(ResumeRefused, match="before anything was planned"):
        resumable(replace(run, plan=Plan(()), measurements=()))
    with pytest.raises(ResumeRefused, match="no plan.json"):
        resumable(replace(run, plan=Plan(())))


HUNG = tuple(Loss(case.id, "no progress for 60 s", "rank 1") for case in cases()[2:])
KILLED = tuple(replace(loss, died=True) for loss in HUNG)
ASIDE = (SetAside("n1", "n1", "no link"), SetAside("n2", "n2 eth1", "no link", failed=True))


@pytest.mark.parametrize("name", ["soak", "nightly", "accept", "run"])
@pytest.mark.parametrize(
    ("changes", "aside", "goes_on"),
    [
        ({}, (), True),
        ({"losses": HUNG}, (), True),
        ({"losses": HUNG, "ended": 9.0}, (), False),
        ({"losses": KILLED, "ended": 9.0}, (), True),
        ({"plan": Plan(()), "measurements": ()}, (), False),
        ({"ended": 9.0}, ASIDE, True),
    ],
    ids=["interrupted", "hung", "hung to the end", "killed", "before the plan", "set aside"],
)
def test_a_verdict_says_resume_where_resume_has_something_to_do(tmp_path, name, changes, aside, goes_on):
    run, _ = interrupted(tmp_path / "run", names=("all_reduce",))
    manifest = replace(run.manifest, command=("railgauge", name), set_aside=aside)
    run = replace(run, manifest=manifest, **changes)
    steps = [verdict.next_step for verdict in judge(run, LOCAL).verdicts]
    goes_on = goes_on and name in ("accept", "run")
    assert any("railgauge resume" in step for step in steps) == goes_on, steps
    if goes_on:
        resumable(run)
        assert run.ended is None or case_progress(run).missing or aside
    else:
        assert any("start it again from the beginning" in step for step in steps)


def on_nodes(tmp_path):
    run, _ = interrupted(tmp_path / "run")
    manifest = replace(
        run.manifest, ranks=RANKS, environment={"0": {"NCCL_ALGO": "Ring", "SLURM_JOB_ID": "1"}}
    )
    return replace(run, manifest=manifest, facts=NODES)


def with_face(node, name, **changes):
    faces = (replace(face, **changes) if face.name == name else face for face in node.interfaces)
    return replace(node, interfaces=tuple(faces))


def with_conf(node, text):
    return replace(node, environment=replace(node.environment, files={"/etc/nccl.conf": text}))


def check(run, ranks=RANKS, now=NODES, versions=None, environment=None):
    unlike(run, ranks, now, versions or VERSIONS, environment or {"0": {"NCCL_ALGO": "Ring"}})


def test_the_same_cluster_is_taken_whatever_started_the_job(tmp_path):
    run = on_nodes(tmp_path)
    check(run)
    check(run, environment={"0": {"NCCL_ALGO": "Ring", "SLURM_JOB_ID": "2", "OMPI_MCA_pml": "ob1",
                                  "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1", "FI_TCP_IFACE": "eth0"}})  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"ranks": RANKS[:2]}, f"nodes were {NODES[0].name}, {NODES[1].name}, are {NODES[0].name}"),
        ({"ranks": RANKS[:3]}, "ranks were 4, are 3"),
        ({"ranks": (*RANKS[:3], replace(RANKS[3], device="cpu"))}, "rank 3 was cuda:0 H100.*is cpu"),
        ({"ranks": tuple(replace(rank, node="other") for rank in RANKS)}, "are other"),
        ({"versions": {"railgauge": "1"}}, "railgauge was 0, is 1"),
        ({"environment": {"0": {"NCCL_ALGO": "Tree"}}}, r"NCCL_ALGO was Ring, is Tree \(rank 0\)"),
        ({"environment": {"0": {}}}, "NCCL_ALGO was Ring, is not set"),
        ({"now": (NODES[0], with_gpu(NODES[1], 3, uuid="GPU-new"))}, f"{NODES[1].name}: GPUs were .*GPU-new"),
        ({"now": (with_software(NODES[0], driver="999.1"), NODES[1])}, "n0: driver was 535.129.03, is 999.1"),
        ({"now": (with_software(NODES[0], torch_nccl="2.99"), NODES[1])}, "NCCL of torch"),
        ({"now": (NODES[0], with_port(NODES[1], "mlx5_8", rate=200e9 / 8))},
         r"n1 mlx5_8/1: link rate was 400\.0 Gb/s, is 200\.0 Gb/s"),
        ({"now": (NODES[0], with_port(NODES[1], "mlx5_3", fw="0.0"))}, "n1 mlx5_3/1: HCA firmware was .*is 0.0"),
        ({"now": (with_host(NODES[0], kernel="7.0"), NODES[1])}, "n0: kernel was .*is 7.0"),
        ({"now": (NODES[0], with_port(NODES[1], "mlx5_3", state="DOWN"))},
         "n1 mlx5_3/1: state was ACTIVE, is DOWN"),
        ({"now": (NODES[0], with_port(NODES[1], "mlx5_3", mtu=2048))}, "n1 mlx5_3/1: MTU was 4096, is 2048"),
        ({"now": (NODES[0], with_face(NODES[1], "ibs4", mtu=4092))}, "n1 ibs4: MTU was 2044, is 4092"),
        ({"now": (NODES[0], with_face(NODES[1], "ibs4", operstate="down", carrier=None))},
         "n1 ibs4: state was up, is down"),
        ({"now": (with_face(NODES[0], "lo", carrier=False), NODES[1])}, "n0 lo: .*is unknown without a carrier"),
        ({"now": (NODES[0], with_conf(NODES[1], "NCCL_DEBUG=WARN\nNCCL_IB_HCA=mlx5_0\n"))},
         r"n1: lines of /etc/nccl\.conf were none, are 'NCCL_DEBUG=WARN', 'NCCL_IB_HCA=mlx5_0'"),
        ({"now": (with_host(NODES[0], peermem=None), NODES[1])}, "nvidia_peermem was 535.129.03, is not known"),
        ({"now": (with_gpu(NODES[0], 2, mig=True), NODES[1])}, "n0 GPU 2: MIG was off, is on"),
        ({"now": (NODES[0], with_gpu(NODES[1], 2, nvlinks=NODES[1].gpus[2].nvlinks[:17]))},
         "n1 GPU 2: active NVLinks were 17, are none"),
        ({"environment": {"0": {"NCCL_ALGO": "Ring", "TORCH_DISTRIBUTED_DEBUG": "DETAIL"}}},
         "TORCH_DISTRIBUTED_DEBUG was not set, is DETAIL"),
        ({"now": (Node(NODES[0].name), NODES[1])}, "GPUs were .*are none"),
    ],
)  # fmt: skip
def test_another_cluster_is_refused_by_the_name_of_what_differs(tmp_path, changed, text):
    with pytest.raises(ResumeRefused, match=f"was measured on another cluster: .*{text}"):
        check(on_nodes(tmp_path), **changed)


CONF = "/etc/nccl.conf"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("IB=^=mlx5_0\n", "IB=^=mlx5_0 \n", "were 'IB=^=mlx5_0', are 'IB=^=mlx5_0 '"),
        ("A=1\nB=2\nB=3\n", "A=1\nB=3\nB=2\n", "were 'A=1', 'B=2', 'B=3', are 'A=1', 'B=3', 'B=2'"),
        ("A=1\r\n", "A=1\n", r"were 'A=1\r', are 'A=1'"),
        ("A=\x1b[2J\n", None, r"were 'A=\x1b[2J', are none"),
    ],
)
def test_another_conf_file_is_refused_by_its_lines(old, new, text):
    before, now = with_conf(NODES[0], old), with_conf(NODES[0], new)
    (told,) = unlike_nodes({before.name: before}, (now,))
    assert f"n0: lines of {CONF} " in told and text in told


def test_one_change_of_many_is_told_once_with_the_first_that_have_it():
    machines = nodes(64)
    changed = tuple(with_conf(machine, "NCCL_IB_HCA=mlx5_0") for machine in machines)
    (told,) = unlike_nodes({machine.name: machine for machine in machines}, changed)
    assert told == f"n0, n1, n2 and 61 more: lines of {CONF} were none, are 'NCCL_IB_HCA=mlx5_0'"


def test_what_moves_by_itself_makes_no_other_cluster(tmp_path):
    one = NODES[0]
    now = replace(
        one,
        tcp={"InSegs": 99},
        gpus=tuple(
            replace(
                gpu, memory_free=1, clock_sm=1.0, temperature=80, power=600.0, power_limit=650.0, processes=2,
                limits=("sw_power_cap",), ecc=replace(gpu.ecc, volatile_corrected=3),
                pci=replace(gpu.pci, hops=(replace(gpu.pci.hops[0], speed=2.5), *gpu.pci.hops[1:])),
            )
            for gpu in one.gpus
        ),
        ports=tuple(
            replace(port, lid=900, sm_lid=7, counters={"port_xmit_data": 5}, hw_counters={}) for port in one.ports
        ),
        interfaces=(
            *(replace(face, statistics={"rx_bytes": 7}) for face in one.interfaces),
            replace(one.interfaces[0], name="veth12ab"),
        ),
        host=replace(one.host, clock=2e9, memory_available=1, hugepages={"2048": (4, 1)}),
        environment=replace(one.environment, files={CONF: "", "/home/another/.nccl.conf": None}),
        notes=("nvml: slow",),
    )  # fmt: skip
    check(on_nodes(tmp_path), now=(now, NODES[1]))


def test_facts_that_are_missing_are_no_same_cluster(tmp_path):
    run = on_nodes(tmp_path)
    with pytest.raises(ResumeRefused, match=f"the run has no facts of {NODES[1].name}"):
        check(replace(run, facts=run.facts[:1]))


def test_a_node_that_is_not_fit_any_more_stops_the_run_that_goes_on(tmp_path):
    folder(tmp_path / "run", end=False)
    (tmp_path / "run" / FACTS).write_text(json.dumps(typed_json.to_json(NODES[0])) + "\n")
    bad = with_gpu(NODES[0], 1, ecc=replace(NODES[0].gpus[1].ecc, remap_failed=True))
    before = {verdict.message for verdict in preflight(tmp_path / "run", LAMBDA)}
    now = {verdict.message for verdict in preflight(tmp_path / "run", LAMBDA, (bad,))}
    assert any("GPU 1" in text for text in now - before)


def test_what_follows_from_a_phase_is_not_planned_twice(tmp_path):
    run, _ = interrupted(tmp_path / "run")
    first, other = Phase("rails", "", ()), Phase("collectives", "", ())

    def begun(*names, plan=(first, other)):
        lines = tuple(PhaseMark(name, "begin") for name in names)
        here = replace(run, phases=lines, plan=Plan(plan))
        return {step.phase.name: step.followed for step in remaining(here, here.plan)}

    assert begun("rails") == {"rails": False, "collectives": False}
    assert begun("rails", "collectives") == {"rails": True, "collectives": False}
    assert begun("rails", plan=(first, other, Phase("suspects", "", ())))["rails"]


def test_counters_of_a_resumed_phase_are_held_against_its_second_part_alone(tmp_path):
    # between the two parts a case in flight moved bytes that no row tells of: they must not count as bandwidth
    first, second = (ring.case(algorithm="ring", phase="ring", size=size) for size in (8 << 30, 16 << 30))
    run = ring.folder(tmp_path, [(first, ring.at(first, 365.0)), (second, [])], nodes=ring.nodes_with_ports())
    rows_ = ring.at(second, 365.0)
    sent = int(ring.ring_bytes(second, rows_[0]) / 8) // 4 * 4
    with Recorder(run.path, again=True) as recorder:
        recorder.counters("ring", "before", ring.snapshots(1000))
        recorder.counters("ring", "before", ring.snapshots(10**14, seconds=60.0))
        recorder.add(PhaseMark("ring", "begin", cases=1))
        recorder.measurement(rows_[0])
        recorder.counters("ring", "after", ring.snapshots(10**14 + sent, seconds=69.0))
    run = load(run.path)
    assert run.earlier == {first.id}
    for node in carried("ring", Evidence(run, ring.LAMBDA)):
        assert node.ratio == pytest.approx(1.0, rel=0.01)


def test_a_phase_that_lacks_its_closing_counters_alone_is_known(tmp_path):
    run = load(folder(tmp_path / "run"))
    name = run.plan.phases[0].name
    lines = (CounterLine(name, "before", ()), CounterLine("other", "before", ()))
    closed = (*lines, CounterLine("other", "after", ()))
    plan = Plan((run.plan.phases[0], Phase("other", "", ())))

    def unclosed(*counters):
        steps = remaining(replace(run, counters=counters), plan)
        return {step.phase.name for step in steps if step.unclosed}

    assert unclosed() == set()
    assert unclosed(*lines) == {name, "other"}
    assert unclosed(*closed) == {name}
    assert unclosed(*closed, *lines[:1], replace(lines[0], when="after")) == set()
