"""What stands for a run: nothing measured inside a node may be read as what the network carries."""

import runs
from bench.judge.evidence import Evidence
from bench.judge.peaks import peak_rows
from bench.plan import Request, sweep_cases
from bench.store import load

NODE_A, NODE_B = tuple(range(8)), tuple(range(8, 16))
ALL = tuple(range(16))


def made(tmp_path, *parts):
    """A run of two nodes; each part: (collective, size, groups, seconds of each group)."""
    planned, measured = [], []
    for name, size, groups, seconds in parts:
        case = sweep_cases("collectives", Request(name, size, size), groups)[0]
        planned.append(case)
        measured += [
            row
            for at, took in enumerate(seconds)
            for row in runs.measured(case, took)
            if row.ranks == groups[at]
        ]
    path = runs.folder(tmp_path / "run", rows=measured, planned=planned, where=runs.ranks(2, 8))
    return load(path)


def test_what_one_node_does_stands_by_its_own_name(tmp_path):
    run = made(
        tmp_path,
        ("all_reduce", 1 << 20, (NODE_A, NODE_B), (1e-3, 2e-3)),
        ("all_reduce", 1 << 22, (ALL,), (50e-3,)),
    )
    inside, across = sorted(peak_rows(Evidence(run, runs.LOCAL)), key=lambda top: -top.row.busbw)
    assert across.series == "all_reduce"
    assert across.row.measurement.ranks == ALL
    assert inside.series == "all_reduce (inside a node)"


def test_of_several_groups_the_slowest_stands(tmp_path):
    (top,) = peak_rows(
        Evidence(made(tmp_path, ("all_reduce", 1 << 20, (NODE_A, NODE_B), (1e-3, 2e-3))), runs.LOCAL)
    )
    assert top.groups == 2
    assert top.row.measurement.ranks == NODE_B


def test_the_size_is_that_at_which_the_slowest_is_fastest(tmp_path):
    run = made(
        tmp_path,
        ("all_reduce", 1 << 20, (ALL,), (1e-3,)),
        ("all_reduce", 1 << 22, (ALL,), (8e-3,)),
    )
    (top,) = peak_rows(Evidence(run, runs.LOCAL))
    assert top.row.case.size == 1 << 20


def test_copies_of_one_gpu_stand_after_the_collectives(tmp_path):
    run = made(
        tmp_path,
        ("copy_device", 1 << 20, ((0,), (8,)), (1e-3, 2e-3)),
        ("all_reduce", 1 << 20, (ALL,), (1e-3,)),
    )
    assert [top.row.case.collective for top in peak_rows(Evidence(run, runs.LOCAL))] == [
        "all_reduce",
        "copy_device",
    ]
