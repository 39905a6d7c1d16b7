"""The secret of a job: where it may come from, who may read it, and that it is never repeated."""

import hashlib
import os
import threading
from string import ascii_letters, digits

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from bench.supervise.control import token
from bench.supervise.control.token import FILE, VARIABLE, NoToken, make, of_this_machine, read, take

SECRET = "correct-horse-battery-staple"


def written(path, text=SECRET, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def test_both_variables_are_taken_out_of_the_environment_before_anybody_looks_at_them():
    environment = {VARIABLE: SECRET, FILE: "/nowhere", "HOME": "/x"}
    found = take(environment)
    assert environment == {"HOME": "/x"}
    assert found.token() == SECRET.encode()
    assert SECRET not in repr(found)


def test_without_variable_and_file_there_is_none():
    assert take({}).token() is None
    assert take({VARIABLE: "", FILE: ""}).token() is None


def test_a_token_that_nobody_asks_for_is_no_reason_to_refuse():
    environment = {VARIABLE: "short", FILE: "/nowhere"}
    take(environment)
    assert environment == {}


def test_a_file_of_the_owner_alone_is_read(tmp_path):
    path = written(tmp_path / "token", f"  {SECRET}\n")
    assert read(path) == SECRET.encode()
    assert take({FILE: str(path)}).token() == SECRET.encode()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666, 0o601])
def test_a_file_that_others_can_reach_is_refused_with_the_command_that_mends_it(tmp_path, mode):
    with pytest.raises(NoToken, match="chmod 600"):
        read(written(tmp_path / "token", mode=mode))


def test_what_is_no_plain_file_is_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path, why in ((tmp_path / "fifo", "not a plain file"), (tmp_path / "none", "No such file")):
        with pytest.raises(NoToken, match=why):
            read(path)
    (tmp_path / "folder").mkdir(mode=0o700)
    with pytest.raises(NoToken, match="not a plain file"):
        read(tmp_path / "folder")


@settings(max_examples=40)
@drawn(
    st.one_of(
        st.text(alphabet=ascii_letters + digits, min_size=8, max_size=15),
        st.text(alphabet="ab", min_size=1025, max_size=1100),
    )
)
def test_a_token_that_is_too_short_or_too_long_is_refused_without_repeating_it(text):
    environment = {VARIABLE: text}
    with pytest.raises(NoToken, match="openssl rand -hex 32") as refused:
        take(environment).token()
    assert text not in str(refused.value)
    assert VARIABLE not in environment


@pytest.mark.parametrize("text", ["a" * 16, "ab" * 40, "passwordpassword", "0123456701234567"])
def test_a_token_that_is_easy_to_guess_is_refused_with_the_command_that_makes_a_good_one(text):
    with pytest.raises(NoToken, match=r"easy to guess.*openssl rand -hex 32") as refused:
        take({VARIABLE: text}).token()
    assert text not in str(refused.value)


@settings(max_examples=100)
@drawn(st.binary(min_size=16, max_size=16))
def test_a_random_token_is_taken(raw):
    made = hashlib.sha256(raw).hexdigest()
    assert take({VARIABLE: made}).token() == made.encode()


def test_a_new_token_can_be_read_by_its_owner_alone_and_replaces_nothing(tmp_path):
    path = tmp_path / "token"
    old = os.umask(0)
    try:
        make(path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    first = read(path)
    with pytest.raises(NoToken, match="File exists"):
        make(path)
    assert read(path) == first


def test_all_who_come_at_once_read_the_same_token(tmp_path):
    seen = []
    gate = threading.Barrier(8)

    def come():
        gate.wait(10)
        seen.append(read(of_this_machine("job", tmp_path / "mine")))

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(seen) == 8 and len(set(seen)) == 1
    assert [path.suffix for path in (tmp_path / "mine").iterdir()] == [".token"]


def test_two_jobs_have_two_tokens(tmp_path):
    a, b = (of_this_machine(job, tmp_path / "mine") for job in ("a", "b"))
    assert a != b and read(a) != read(b)


def test_a_folder_that_is_not_ours_alone_is_refused(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "private").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "private")
    (tmp_path / "file").write_text("")
    for name in ("open", "link", "file"):
        with pytest.raises(NoToken, match="not a folder of this user alone"):
            of_this_machine("job", tmp_path / name)


def test_the_folder_that_the_system_made_for_this_user_is_taken_where_it_is_private(tmp_path, monkeypatch):
    monkeypatch.setattr(token.tempfile, "tempdir", str(tmp_path / "tmp"))
    mine = tmp_path / str(os.geteuid())
    assert token._runtime_folder(tmp_path) == tmp_path / "tmp" / f"railgauge-{os.geteuid()}"
    mine.mkdir(mode=0o700)
    assert token._runtime_folder(tmp_path) == mine / "railgauge"
    mine.chmod(0o755)
    assert token._runtime_folder(tmp_path).parent == tmp_path / "tmp"


def test_a_planted_link_in_place_of_the_token_is_not_followed_to_others_files(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o700)
    path = of_this_machine("job", folder)
    path.unlink()
    path.symlink_to(written(tmp_path / "shared", mode=0o644))
    with pytest.raises(NoToken, match="can be read by others"):
        read(of_this_machine("job", folder))
