"""Kept texts: made once, believed only whole and only from this user, and never in the way."""

import os

import pytest

from reports import scripts
from reports.text_cache import cache_folder, cached


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "railgauge"


class Maker:
    """Counts how often it was asked."""

    def __init__(self, text="the text"):
        self.text, self.asked = text, 0

    def __call__(self):
        self.asked += 1
        return self.text


def test_a_text_is_made_once_and_kept_for_its_user_alone(folder):
    make = Maker("first line\nsecond ✔\n")
    assert cached("a.js", make) == cached("a.js", make) == make.text
    assert make.asked == 1
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "a.js").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in folder.iterdir()] == ["a.js"]


def test_another_name_is_another_text(folder):
    assert cached("a-1.js", Maker("one")) == "one"
    assert cached("a-2.js", Maker("two")) == "two"


@pytest.mark.parametrize("damage", ["", "the text", "0" * 64 + "\nthe text", b"\xff\xfe\n\xff"])
def test_what_is_not_whole_is_made_anew_and_mended(folder, damage):
    make = Maker()
    cached("a.js", make)
    (folder / "a.js").write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    assert cached("a.js", make) == "the text" and make.asked == 2
    assert cached("a.js", make) == "the text" and make.asked == 2


def test_one_changed_character_is_seen(folder):
    make = Maker()
    cached("a.js", make)
    path = folder / "a.js"
    path.write_bytes(path.read_bytes().replace(b"the text", b"tha text"))
    assert cached("a.js", make) == "the text" and make.asked == 2


@pytest.mark.parametrize("what", ["a.js", "."])
def test_what_others_may_write_is_not_believed(folder, what):
    make = Maker()
    cached("a.js", make)
    (folder / what).chmod(0o777)
    assert cached("a.js", make) == "the text" and make.asked == 2


@pytest.mark.root
@pytest.mark.parametrize("what", ["a.js", "."])
def test_what_belongs_to_another_user_is_not_believed(folder, what):
    make = Maker()
    cached("a.js", make)
    os.chown(folder / what, 65534, 65534)
    assert cached("a.js", make) == "the text" and make.asked == 2


def test_links_and_pipes_are_not_read(folder, tmp_path):
    make = Maker()
    cached("a.js", make)
    (folder / "a.js").rename(tmp_path / "elsewhere")
    (folder / "a.js").symlink_to(tmp_path / "elsewhere")
    assert cached("a.js", make) == "the text" and make.asked == 2
    os.mkfifo(folder / "b.js")
    assert cached("b.js", make) == "the text" and make.asked == 3


def test_a_folder_that_is_a_link_is_not_used(folder, tmp_path):
    (tmp_path / "other").mkdir(mode=0o700)
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "other")
    make = Maker()
    assert cached("a.js", make) == cached("a.js", make) == "the text"
    assert make.asked == 2 and not list((tmp_path / "other").iterdir())


def test_where_nothing_can_be_kept_the_text_is_made_each_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    make = Maker()
    assert cached("a.js", make) == cached("a.js", make) == "the text" and make.asked == 2


def test_the_folder_is_the_users_own(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for named in ("", "relative/place"):
        monkeypatch.setenv("XDG_CACHE_HOME", named)
        assert cache_folder() == tmp_path / ".cache" / "railgauge"


def test_vega_is_the_same_kept_and_fresh(folder):
    scripts.vega.cache_clear()
    fresh = scripts.vega()
    assert [file.name.startswith("vega-") for file in folder.iterdir()] == [True]
    scripts.vega.cache_clear()
    assert scripts.vega() == fresh
    assert "vegaEmbed" in fresh and "</script" not in fresh
