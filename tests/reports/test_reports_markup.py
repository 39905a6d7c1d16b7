"""Every text that enters the page is escaped."""

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from reports.markup import Html, join, tag
from reports.tables import Cell, number, table


class Seen(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.attributes = [], [], []

    def handle_starttag(self, name, attributes):
        self.tags.append(name)
        self.attributes += attributes

    def handle_data(self, text):
        self.texts.append(text)


def parsed(text):
    seen = Seen()
    seen.feed(text)
    seen.close()
    return seen


@given(st.text())
def test_no_text_becomes_markup(text):
    seen = parsed(tag("p", text, title=text))
    assert seen.tags == ["p"]
    assert [name for name, _ in seen.attributes] == ["title"]


@given(st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"))))
def test_printable_text_is_shown_as_it_is(text):
    shown = "".join(parsed(tag("p", text)).texts)
    assert shown == "".join(c if c.isprintable() else "\ufffd" for c in text)


def test_direction_marks_cannot_disguise_a_name():
    assert "\u202e" not in tag("p", "node\u202e1")


def test_nested_children_are_flattened_and_none_is_nothing():
    assert tag("ul", [tag("li", n) for n in (1, 2)], None) == "<ul><li>1</li><li>2</li></ul>"
    assert join([Html("<b>"), "<"]) == "<b>&lt;"


def test_attributes_that_are_false_are_left_out():
    assert tag("details", open=False) == "<details></details>"
    assert tag("meta", http_equiv="x") == '<meta http-equiv="x">'


def test_a_figure_that_is_none_is_a_dash_that_sorts_last():
    assert number(float("nan")) == Cell("–", "", True)
    assert number(float("inf")).shown == "–"


def test_numbers_sort_by_value_not_by_text():
    text = table(("size",), [(Cell("8 GiB", 8 << 30, True),), (Cell("16 KiB", 16 << 10, True),)], "t")
    assert re.findall(r'data-key="(\d+)"', text) == [str(8 << 30), str(16 << 10)]
