"""A line of a log that claims more ranks than any job has is not believed: each of them would be looked up."""

from bench.nccl.log import read

LINE = "n0:1:1 [0] NCCL INFO ncclCommInitRank comm 0x1 rank 0 nranks {} cudaDev 0 busId 1b000 commId 0x2 - Init START\n"


def test_no_more_ranks_are_believed_than_any_job_has():
    assert read(LINE.format(262_144)).nranks == (262_144,)
    assert read(LINE.format(262_145)).nranks == ()
