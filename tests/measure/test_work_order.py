"""What a worker says of an exception: one line, and the one that says why."""

from bench.measure.work_order import first_line

# torch 2.11.0, two ranks on one GPU; NCCL's own words stand at the end
DUPLICATE = """\
NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:93, invalid usage, NCCL version 2.28.9
ncclInvalidUsage: This usually reflects invalid usage of NCCL library.
Last error:
Duplicate GPU detected : rank 0 and rank 1 both on CUDA device 1b000
"""


def test_what_nccl_itself_says_comes_first():
    assert first_line(RuntimeError(DUPLICATE)) == (
        "Duplicate GPU detected : rank 0 and rank 1 both on CUDA device 1b000; NCCL error in: "
        "/pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:93, invalid usage, NCCL version 2.28.9"
    )


def test_an_error_without_words_is_its_type_and_a_long_one_is_cut():
    assert first_line(ValueError("\n \n")) == "ValueError"
    assert first_line(RuntimeError("Last error:")) == "Last error:"
    assert first_line(RuntimeError("\nfirst\nsecond")) == "first"
    assert len(first_line(RuntimeError("x" * 900))) == 300


def test_a_long_error_ends_with_a_whole_sentence():
    """As torch's OutOfMemoryError, which goes on with advice on its allocator."""
    words = (
        "CUDA out of memory. Tried to allocate 2.00 GiB. "
        + "If reserved but unallocated memory is large try " * 9
    )
    assert first_line(RuntimeError(words)) == "CUDA out of memory. Tried to allocate 2.00 GiB."
