"""An answer is kept for the very objects that it was asked about."""

import gc

import pytest

from bench.model.memo import once


def counting(most=1):
    asked = []

    @once(most)
    def question(*given):
        asked.append(given)
        return list(given)

    return question, asked


def test_the_same_objects_are_asked_about_once():
    question, asked = counting()
    a, b = (1, 2), {"three": 4}
    assert question(a, b) is question(a, b)
    assert asked == [(a, b)]


def test_equal_objects_are_others():
    question, asked = counting()
    question([1]), question([1])
    assert len(asked) == 2


def test_places_and_their_number_matter():
    question, asked = counting(10)
    a, b = [1], [2]
    assert question(a, b) == [a, b] and question(b, a) == [b, a] and question(a) == [a]
    assert len(asked) == 3


def test_no_object_takes_the_place_of_one_that_is_gone():
    question, asked = counting(1000)
    for number in range(500):
        assert question([number]) == [[number]]  # each is let go at once, and its address is free again
        gc.collect(0)
    assert len(asked) == 500


def test_only_the_last_are_kept():
    question, asked = counting(2)
    a, b, c = [1], [2], [3]
    for each in (a, b, a, b):
        question(each)
    assert len(asked) == 2
    question(c)
    question(a)
    assert len(asked) == 4


def test_none_is_an_answer():
    asked = []

    @once()
    def question(given):
        asked.append(given)

    a = [1]
    assert question(a) is question(a) is None
    assert len(asked) == 1


def test_a_mistake_is_no_answer():
    asked = []

    @once()
    def question(given):
        asked.append(given)
        raise ValueError(given)

    a = [1]
    for _ in range(2):
        with pytest.raises(ValueError, match="1"):
            question(a)
    assert len(asked) == 2


def test_names_are_refused_rather_than_confused():
    question, _ = counting()
    with pytest.raises(TypeError, match="by place"):
        question(given=[1])


def test_what_an_answer_depends_on_can_be_less_than_what_is_given():
    asked = []

    @once(of=lambda pair, other: (pair[0], other))
    def question(pair, other):
        asked.append(pair)
        return pair

    first, other = [1], [2]
    assert question([first, "a"], other) is question([first, "b"], other)
    assert len(asked) == 1
    question([[1], "a"], other)
    assert len(asked) == 2
