"""Redacts secrets: a run folder is sent to vendors and kept for years."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote

HIDDEN = "***"
SECRETS = ("TOKEN", "KEY", "SECRET", "PASS", "CREDENTIAL")
# of options and of NAME=value words, beside the above
_OPTIONS = (*SECRETS, "AUTH", "WEBHOOK", "PWD")
_NAMED = re.compile(r"(?P<name>-{0,2}[A-Za-z_][\w.-]*)=(?P<value>.*)", re.DOTALL)
# scheme://user:password@host/path?query: who one is and what one asks for are nobody's business; a password may hold
# an @, and a slash where what stands before it is no port
_USER = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^/\s]*|[^/@\s:\[]*:(?!\d+/)[^@\s]*)@")
_QUERY = re.compile(r"(?P<url>[A-Za-z][A-Za-z0-9+.-]*://[^\s?#]*)[?#](?P<query>\S*)")
_LEAST = 6  # characters of a password that is looked for by itself: a shorter one is a part of other words
# how the tokens of GitHub, GitLab, Hugging Face, AWS, Slack, OpenAI and others start, and JSON web tokens
_SHAPES = re.compile(
    r"\b(?:gh[opsur]_|github_pat_|glpat-|hf_|AKIA|ASIA|xox[a-z]-|sk-|rpa_|npm_|pypi-)[A-Za-z0-9_-]{8,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"
)


def looks_secret(name: str) -> bool:
    """Whether a variable of this name may hold a secret."""
    return any(word in name.upper() for word in SECRETS)


def scrub(words: Iterable[str]) -> tuple[str, ...]:
    """A command's words as they may be kept: values of secret-looking options, passwords in URLs, tokens hidden."""
    kept: list[str] = []
    hide = False
    for word in words:
        kept.append(HIDDEN if hide and not word.startswith("-") else _word(word))
        hide = word.startswith("-") and "=" not in word and _is_secret(word)
    return tuple(kept)


def scrub_text(text: str) -> str:
    """``text`` without passwords and queries in URLs, and without what has the shape of a token."""
    text = _USER.sub(rf"\g<scheme>{HIDDEN}@", text)
    return _SHAPES.sub(HIDDEN, _QUERY.sub(rf"\g<url>?{HIDDEN}", text))


def secrets(words: Iterable[str]) -> tuple[str, ...]:
    """The secrets in the URLs among ``words``, as written and decoded: a library may repeat one without its URL."""
    found = {each for word in words for given in _parts(word) for each in (given, unquote(given))}
    return tuple(sorted(found, key=lambda each: (-len(each), each)))


def showable(words: Sequence[str]) -> list[str]:
    """The words of a command without what the URLs among them keep to themselves."""
    hidden = secrets(words)
    return [veil(word, hidden) for word in words]


def veil(text: str, hidden: Iterable[str]) -> str:
    """``text`` without any of ``hidden``, which is what ``secrets`` found."""
    for each in hidden:
        text = text.replace(each, HIDDEN)
    return text


def _parts(word: str) -> Iterator[str]:
    for found in _USER.finditer(word):
        user, colon, password = found["user"].partition(":")
        yield found["user"] if colon and user else f"{found['user']}@"
        if len(password) >= _LEAST:
            yield password
    for found in _QUERY.finditer(_USER.sub("\\g<scheme>", word)):
        for pair in re.split("[&;?#]", found["query"]):
            value = pair.partition("=")[2]
            if value:
                yield pair
            if len(value) >= _LEAST:
                yield value


def _word(word: str) -> str:
    found = _NAMED.fullmatch(word)
    if found and _is_secret(found["name"]):
        return f"{found['name']}={HIDDEN}"
    return scrub_text(word)


def _is_secret(option: str) -> bool:
    """A file that holds a secret is none: ``--token-file``."""
    name = option.upper()
    return any(word in name for word in _OPTIONS) and not name.endswith("FILE")
