import dataclasses
import sys
import threading

import pytest

from bench.model.late_dataclass import dataclass, field, fields, is_dataclass, replace


def pair():
    @dataclass(frozen=True)
    class Pair:
        left: int
        right: list[int] = field(default_factory=list)

    return Pair


def test_a_class_is_made_when_it_is_needed_and_not_before():
    late = pair()
    assert "__eq__" not in vars(late)
    late(1)
    assert "__eq__" in vars(late)


def test_it_is_then_what_the_standard_library_makes():
    late = pair()
    one = late(1)
    assert (one, hash(late(2, ())), repr(one)) == (
        late(1, []),
        hash((2, ())),
        f"{late.__qualname__}(left=1, right=[])",
    )
    assert replace(one, left=3) == late(left=3) != one
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.left = 2
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'left'"):
        late()


@pytest.mark.parametrize("ask", [fields, is_dataclass, lambda late: late.__dataclass_fields__])
def test_who_asks_for_its_fields_has_it_made(ask):
    late = pair()
    assert ask(late)
    assert "__eq__" in vars(late)


def test_a_class_has_the_fields_of_the_late_one_that_it_extends():
    @dataclass(frozen=True)
    class Triple(pair()):
        third: int = 0

    assert [each.name for each in fields(Triple)] == ["left", "right", "third"]
    assert Triple(1, third=2) == Triple(1, [], 2)


def test_a_class_that_is_no_dataclass_may_extend_a_late_one():
    late = pair()

    class Doubled(late):
        def __init__(self, number):
            super().__init__(2 * number)

    assert Doubled(2).left == 4
    assert [each.name for each in fields(Doubled)] == ["left", "right"]


def test_a_class_with_slots_is_a_new_class_and_made_at_once():
    @dataclass(slots=True)
    class Slotted:
        left: int

    assert Slotted.__slots__ == ("left",)


@pytest.fixture
def hasty_threads():
    seconds = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(seconds)


def test_threads_that_need_it_at_once_have_it_made_once(hasty_threads):
    for late in (pair() for _ in range(20)):
        made, start = [], threading.Barrier(8)

        def make(late=late, made=made, start=start):
            start.wait()
            made.append(late(1))

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made == [late(1)] * 8
