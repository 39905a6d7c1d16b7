"""What one rank alone cannot do, no rank does: the others would wait for it for ever."""

import pytest

torch = pytest.importorskip("torch")

from bench.measure.backend.cases import _all_or_none  # noqa: E402
from bench.measure.backend.device import Unsupported  # noqa: E402

pytestmark = pytest.mark.torch


class TwoRanks:
    """This rank, and another that could (0) or could not (1)."""

    def __init__(self, other: float) -> None:
        self.other = other

    def share(self, values):
        return [list(values), [self.other]]


def refuse() -> str:
    raise Unsupported("this torch has no pool")


def test_all_could():
    assert _all_or_none(lambda: "done", TwoRanks(0.0)) == "done"


@pytest.mark.parametrize("other", [0.0, 1.0])
def test_this_rank_could_not_and_tells_the_others_first(other):
    with pytest.raises(Unsupported, match="no pool"):
        _all_or_none(refuse, TwoRanks(other))


def test_another_rank_could_not():
    with pytest.raises(Unsupported, match="another rank"):
        _all_or_none(lambda: "done", TwoRanks(1.0))


def test_an_error_of_the_gpu_is_no_lack_of_support():
    def broken() -> str:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        _all_or_none(broken, TwoRanks(0.0))
