"""Whatever a parser is given, it answers or refuses: no crash, no hang, and nothing passes for it."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.judge.fabric import errors, links
from bench.model.verdict import Status
from bench.probe import mtu, topology
from bench.probe.fabric import linkinfo, netdiscover, queryerrors
from bench.probe.fabric.pasted_text import UnknownToolOutput
from bench.probe.fabric.subnet import end_behind, join

DATA = Path(__file__).parent / "data"
TEXTS = [path.read_text() for path in sorted(DATA.iterdir()) if path.suffix != ".md"]
PARSERS = (mtu, topology, linkinfo, netdiscover, queryerrors)
QUICK = settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def spoiled(draw):
    """A real text, cut, with pieces of itself or of anything put in."""
    text = draw(st.sampled_from(TEXTS))
    start, end = sorted(draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    piece = draw(st.one_of(st.text(max_size=40), st.just(text[start : start + 200]), st.just("9" * 5000)))
    return draw(st.sampled_from([text[:start] + piece + text[end:], text[start:end] + piece, piece + text]))


def parsed(parser, text):
    try:
        return parser.parse(text)
    except UnknownToolOutput:
        return None


@QUICK
@given(st.one_of(st.text(max_size=300), spoiled()))
def test_no_text_crashes_a_parser(text):
    for parser in PARSERS:
        parsed(parser, text)


@QUICK
@given(spoiled(), spoiled(), spoiled())
def test_no_text_crashes_the_verdicts(one, two, three):
    seen = join(parsed(netdiscover, one), parsed(linkinfo, two), parsed(queryerrors, three))
    for line in seen.unanswered:
        end_behind(seen, line)
    wanted = [links.ExpectedPort("x", "node1 mlx5_2")]
    list(links.hca_ports(seen, wanted, 4, 25e9, "test"))
    list(links.trunk_links(seen, 4, 25e9, "test"))
    list(links.uplinks(seen))
    list(errors.changes(seen, seen))
    list(errors.errors(seen, seen.errors))


@QUICK
@given(st.text(max_size=300))
def test_noise_never_passes(text):
    seen = join(parsed(netdiscover, text), parsed(linkinfo, text), parsed(queryerrors, text))
    wanted = [links.ExpectedPort("x", "x")]
    found = [
        *links.complete(seen),
        *links.hca_ports(seen, wanted, 4, 1.0, "test"),
        *errors.errors(seen),
    ]
    assert {row.status for row in found} == {Status.INCONCLUSIVE}


def test_long_lines_and_many_marks_do_not_hang_a_parser():
    traps = (
        *(
            " " * 200_000,
            "a" * 200_000 + ":",
            "\r" * 200_000,
            "'" * 100_000,
            "[1," * 50_000,
            "\x1b[" * 100_000,
        ),
        "==(" + "( " * 4000,
        *(
            head + " - " * 1000
            for head in ("CA 1 1 0x1 4x EDR - SW 1 1 0x2 ( '", "mlx5_0 (", "GPU0\t", "# Port")
        ),
        "CA 1 1 0x1 4x EDR - SW 1 1 0x2 ( " + "'a' - " * 600,
    )
    for trap in traps:  # a backtracking expression would take hours
        for parser in PARSERS:
            parsed(parser, trap)
