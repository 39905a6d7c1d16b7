"""The variables NCCL really sees: the process environment, then the conf files, by NCCL's own rules.

Source: NVIDIA/nccl ``setEnvFile``, ``initEnvFunc`` (src/misc/param.cc; src/include/param.h in 2.4-2.10).
The process environment wins, then ``$NCCL_CONF_FILE`` or else ``~/.nccl.conf``, then ``/etc/nccl.conf``; in
one file the first line wins. A line is ``KEY=VALUE``: no trimming, no quotes, no ``export``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bench.model.late_dataclass import dataclass
from bench.nccl.c_strings import cut, length, pieces, until_nul
from bench.nccl.version import (
    CONF_COMMENTS,
    CONF_FILE_VARIABLE,
    CONF_READS_HOME,
    NEWEST,
    Version,
)

ENVIRONMENT = "environment"
SYSTEM_FILE = "/etc/nccl.conf"
MAX_TEXT = 1023
MAX_LINE = 4095


@dataclass(frozen=True)
class Setting:
    """One variable: ``origin`` is "environment" or the file's path, ``line`` its line there (0: none)."""

    name: str
    value: str
    origin: str
    line: int = 0


@dataclass(frozen=True)
class SettingNote:
    """A setting that does not mean what it seems to mean."""

    origin: str
    line: int
    text: str


@dataclass(frozen=True)
class Effective:
    """The variables that NCCL sees, by name, and notes on sources that are easily misread."""

    settings: tuple[Setting, ...]
    notes: tuple[SettingNote, ...]

    def find(self, name: str) -> Setting | None:
        return next((setting for setting in self.settings if setting.name == name), None)

    def value(self, name: str) -> str | None:
        """The variable's text; None where it is unset, which is not the same as empty."""
        setting = self.find(name)
        return setting.value if setting else None


def conf_files(environ: Mapping[str, str], home: str | None, version: Version = NEWEST) -> tuple[str, ...]:
    """The files NCCL opens, in order. ``home`` is the directory in the user database (getpwuid)."""
    chosen = environ.get("NCCL_CONF_FILE", "") if version >= CONF_FILE_VARIABLE else ""
    if chosen:
        return (cut(chosen, MAX_TEXT), SYSTEM_FILE)
    folder = environ.get("HOME") if version >= CONF_READS_HOME else home
    user = () if folder is None else (cut(f"{folder}/.nccl.conf", MAX_TEXT),)
    return (*user, SYSTEM_FILE)


def effective(
    environ: Mapping[str, str],
    files: Mapping[str, str | None],
    version: Version = NEWEST,
    home: str | None = None,
) -> Effective:
    """Evaluate NCCL's ``initEnv``: the NCCL_* variables of the process and all that the conf files define.

    ``files`` holds the text of each of ``conf_files``, None where the file cannot be opened. Read it as
    UTF-8 with surrogateescape and newline="", so that a carriage return survives.
    """
    found = {n: Setting(n, v, ENVIRONMENT) for n, v in environ.items() if n.startswith("NCCL_")}
    notes = [SettingNote(ENVIRONMENT, 0, text) for setting in found.values() for text in _odd(setting)]
    for path in conf_files(environ, home, version):
        if path not in files:
            notes.append(SettingNote(path, 0, "was not looked at, so what it sets is not known"))
        text = files.get(path) or ""
        notes += _mark(path, text)
        for setting in conf_settings(path, text, version):
            notes += [SettingNote(path, setting.line, odd) for odd in _odd(setting)]
            notes += [SettingNote(path, setting.line, hidden) for hidden in _hidden(setting, found, environ)]
            if setting.name not in environ:
                found.setdefault(setting.name, setting)
        notes += _skipped(path, text, version)
    return Effective(tuple(found.values()), tuple(notes))


def conf_settings(path: str, text: str, version: Version = NEWEST) -> tuple[Setting, ...]:
    """The variables one conf file defines, in order; a name may come twice, and the first counts."""
    settings = []
    for number, line in conf_lines(text, version):
        key, equals, value = line.partition("=")
        # setenv refuses an empty name
        if equals and key and not _is_comment(line, version):
            settings.append(Setting(cut(key, MAX_TEXT), cut(value, MAX_TEXT), path, number))
    return tuple(settings)


def conf_lines(text: str, version: Version = NEWEST) -> Iterator[tuple[int, str]]:
    """Line number and what NCCL has in its buffer for it, comments and all."""
    modern = version >= CONF_READS_HOME
    for number, line in enumerate(text.split("\n"), 1):
        if not modern:
            yield number, until_nul(line)
            continue
        # fgets with a buffer of 4096: a longer line comes in pieces, each read as a line of its own
        for piece in pieces(line + "\n", MAX_LINE):
            yield number, until_nul(piece).removesuffix("\n").removesuffix("\r")


def _is_comment(line: str, version: Version) -> bool:
    return version >= CONF_COMMENTS and line.startswith("#")


def _odd(setting: Setting) -> Iterator[str]:
    """A note on a spelling that NCCL takes literally, such as quotes or blanks."""
    name, value = setting.name, setting.value
    if name.startswith("export "):
        yield f"defines a variable called {name!r}; leave out 'export'"
    elif name.startswith("#"):
        yield f"is no comment to this version (before 2.26): it defines a variable called {name!r}"
    elif name.startswith("\ufeff"):
        yield "starts with a byte-order mark, which becomes part of the variable's name"
    elif name != name.strip():
        yield f"defines a variable called {name!r}; write no blank around '='"
    if value.endswith("\r"):
        yield f"{name.strip()} ends in a carriage return (CRLF lines), which is part of its value"
    elif value != value.strip():
        yield f"{name.strip()} is {value!r}: the blank is part of its value"
    if value[:1] in ("'", '"') or value.rstrip()[-1:] in ("'", '"'):
        yield f"{name.strip()} is {value!r}: the quotes are part of its value"
    if " #" in value:
        yield f"{name.strip()} is {value!r}: what looks like a comment is part of its value"
    if setting.origin != ENVIRONMENT and length(value) >= MAX_TEXT:
        yield f"{name.strip()} may be cut: NCCL keeps {MAX_TEXT} bytes"


def _hidden(setting: Setting, found: Mapping[str, Setting], environ: Mapping[str, str]) -> Iterator[str]:
    """A note on a value that an earlier source overrides."""
    winner = found.get(setting.name)
    if setting.name in environ and environ[setting.name] == "":
        yield f"{setting.name}={setting.value!r} does not count: an exported empty variable hides it"
    elif winner and winner.value != setting.value:
        where = winner.origin if winner.origin == ENVIRONMENT else f"{winner.origin}:{winner.line}"
        yield f"{setting.name}={setting.value!r} does not count: {where} has {winner.value!r}"


def _mark(path: str, text: str) -> Iterable[SettingNote]:
    if "\r" in text.replace("\r\n", ""):
        yield SettingNote(
            path, 0, "holds carriage returns that end no line; NCCL keeps them in names and values"
        )


def _skipped(path: str, text: str, version: Version) -> Iterator[SettingNote]:
    for number, line in conf_lines(text, version):
        if line.strip() and "=" not in line and not line.startswith("#"):
            yield SettingNote(path, number, f"{line[:60]!r} has no '=' and is skipped")
        elif line.startswith("="):
            yield SettingNote(path, number, "has no name before '=' and is skipped")
    if version >= CONF_READS_HOME:
        for number, line in enumerate(text.split("\n"), 1):
            if length(line) > MAX_LINE:
                yield SettingNote(
                    path, number, f"is longer than {MAX_LINE} bytes: NCCL reads the rest as another line"
                )
