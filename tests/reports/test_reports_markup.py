"""Every text that enters the page is escaped."""

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from bench.model.verdict import Status, Verdict
from reports.tables import Cell, ReportTable, number, verdict_table
from reports.templating import render


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


def figure(text):
    """A piece of the page in which a text stands in attributes and between tags."""
    return render("charts.html", name=text, title=text, charts=[(text, text)])


def table(*rows):
    return render("attention.html", first=ReportTable("t", ("size",), rows), rest=ReportTable("t", (), ()))


PLAIN = parsed(figure("x"))
TEXTS = st.text() | st.text(alphabet="<a>\"'/= &;")


@given(TEXTS)
def test_no_text_becomes_markup(text):
    seen = parsed(figure(text))
    assert seen.tags == PLAIN.tags
    assert [name for name, _ in seen.attributes] == [name for name, _ in PLAIN.attributes]


@given(TEXTS)
def test_no_text_of_a_verdict_becomes_markup(text):
    def drawn(each):
        verdict = Verdict(each, each, Status.FAIL, each, each, each, each, evidence=(each,))
        return parsed(render("attention.html", first=verdict_table([verdict]), rest=verdict_table([])))

    tags = [tag for tag in drawn(text).tags if tag != "wbr"]  # a check's name breaks after its dots
    assert tags == drawn("x").tags or (not text and set(tags) <= set(drawn("x").tags))


@given(st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"))))
def test_printable_text_is_shown_as_it_is(text):
    shown = "".join(parsed(figure(text)).texts).split("In words")[1].strip("\n")
    assert shown == "".join(c if c.isprintable() or c == "\xa0" else "\ufffd" for c in text)


def test_direction_marks_cannot_disguise_a_name():
    assert "node" in figure("node\u202e1") and "\u202e" not in figure("node\u202e1")


def test_a_figure_that_is_none_is_a_dash_that_sorts_last():
    assert number(float("nan")) == Cell("–", "", True)
    assert number(float("inf")).text == "–"


def test_numbers_sort_by_value_not_by_text():
    text = table((Cell("8 GiB", 8 << 30, True),), (Cell("16 KiB", 16 << 10, True),))
    assert re.findall(r'data-key="(\d+)"', text) == [str(8 << 30), str(16 << 10)]
    assert '<th scope="col" class="number">' in text
