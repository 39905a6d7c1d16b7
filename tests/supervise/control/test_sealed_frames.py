"""Frames and proofs: what is forged, altered, repeated, left out or reordered does not open."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.supervise.control.sealed_frames import (
    DIALER,
    HELLO,
    HOST,
    LENGTH,
    LONGEST,
    PROOF,
    TO_DIALER,
    TO_HOST,
    VERSION,
    Forged,
    Handshake,
    Opener,
    OtherVersion,
    Sealer,
    hello,
    parse_hello,
)

TOKEN = b"0123456789abcdef"
KEY = b"k" * 32
HANDSHAKE = Handshake("torchrun job 29500", 3, 8, b"c" * 32, b"h" * 32)


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=300), max_size=6), st.lists(st.integers(1, 50), max_size=40))
def test_what_was_sealed_opens_in_whatever_pieces_it_arrives(payloads, cuts):
    sealer, opener = Sealer(KEY), Opener(KEY)
    stream = b"".join(sealer.seal(payload) for payload in payloads)
    opened = []
    for cut in [*cuts, len(stream)]:
        opened += opener.open(stream[:cut])
        stream = stream[cut:]
    assert opened == payloads


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), st.data())
def test_no_altered_byte_is_ever_delivered(payloads, data):
    sealer, opener = Sealer(KEY), Opener(KEY)
    stream = bytearray(b"".join(sealer.seal(payload) for payload in payloads))
    at = data.draw(st.integers(0, len(stream) - 1))
    stream[at] ^= data.draw(st.integers(1, 255))
    opened = []
    try:
        for payload in opener.open(bytes(stream)):
            opened.append(payload)
    except Forged:
        pass
    # a changed length may leave us waiting for more, but nothing but the truth has come out
    assert opened == payloads[: len(opened)] and len(opened) < len(payloads)


@settings(max_examples=60)
@given(st.binary(max_size=400))
def test_garbage_never_opens(garbage):
    opener = Opener(KEY)
    try:
        assert list(opener.open(garbage)) == []
    except Forged:
        return


def test_a_frame_opens_once_in_its_place_and_in_its_direction():
    sealer = Sealer(KEY)
    first, second = sealer.seal(b"stop"), sealer.seal(b"go")
    assert list(Opener(KEY).open(first + second)) == [b"stop", b"go"]
    for stream in (first + first, second, second + first):
        with pytest.raises(Forged, match="forged, repeated or out of order"):
            list(Opener(KEY).open(stream))
    back = Sealer(HANDSHAKE.key(TOKEN, TO_HOST)).seal(b"x")
    with pytest.raises(Forged):
        list(Opener(HANDSHAKE.key(TOKEN, TO_DIALER)).open(back))


def test_a_huge_length_is_refused_before_anything_of_it_arrives():
    with pytest.raises(Forged, match=f"at most {LONGEST}"):
        list(Opener(KEY).open(LENGTH.pack(LONGEST + 1)))
    with pytest.raises(ValueError, match="can be sent"):
        Sealer(KEY).seal(bytes(LONGEST + 1))


@pytest.mark.parametrize(
    "other",
    [
        replace(HANDSHAKE, run="torchrun job2 29500"),
        replace(HANDSHAKE, rank=4),
        replace(HANDSHAKE, size=9),
        replace(HANDSHAKE, dialer=b"d" * 32),
        replace(HANDSHAKE, host=b"d" * 32),
        replace(HANDSHAKE, dialer=HANDSHAKE.host, host=HANDSHAKE.dialer),
    ],
)
def test_a_proof_is_good_for_its_own_connection_alone(other):
    assert HANDSHAKE.proves(TOKEN, DIALER, HANDSHAKE.key(TOKEN, DIALER))
    assert not other.proves(TOKEN, DIALER, HANDSHAKE.key(TOKEN, DIALER))


def test_every_use_of_a_token_has_a_key_of_its_own():
    assert len({HANDSHAKE.key(TOKEN, use) for use in (DIALER, HOST, TO_HOST, TO_DIALER)}) == 4
    assert not HANDSHAKE.proves(TOKEN + b"x", DIALER, HANDSHAKE.key(TOKEN, DIALER))
    assert not HANDSHAKE.proves(TOKEN, DIALER, b"")
    assert all(len(HANDSHAKE.key(TOKEN, use)) == PROOF for use in (DIALER, HOST))


@settings(max_examples=60)
@given(st.binary(max_size=80))
def test_garbage_is_no_hello(garbage):
    with pytest.raises(Forged):
        parse_hello(garbage)


@pytest.mark.parametrize(("rank", "size"), [(0, 4), (4, 4), (2**32 - 1, 2), (1, 1)])
def test_a_hello_of_no_rank_is_refused(rank, size):
    with pytest.raises(Forged, match="rank"):
        parse_hello(hello(b"n" * 32, rank, size))


def test_a_hello_says_who_calls():
    assert parse_hello(hello(b"n" * 32, 3, 8)) == (b"n" * 32, 3, 8)
    old = struct.pack("!12s32sII", b"railgauge-0\n", b"n" * 32, 3, 8)
    assert len(old) == HELLO.size
    with pytest.raises(OtherVersion, match=rf"version 0 and not {VERSION}: install the same"):
        parse_hello(old)
