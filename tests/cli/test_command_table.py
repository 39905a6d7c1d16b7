"""The table of commands, from which --help is written, says what the commands say of themselves."""

import pkgutil
from importlib import import_module

import click
import pytest

import bench.cli
from bench.cli import COMMANDS, cli


@pytest.mark.parametrize("name", COMMANDS)
def test_a_row_says_what_its_command_says(name):
    command = cli.commands[name]
    assert (command.name, command.get_short_help_str(1000)) == (name, COMMANDS[name][1])


def test_no_command_lacks_a_row():
    modules = (import_module(f"bench.cli.{each.name}") for each in pkgutil.iter_modules(bench.cli.__path__))
    there = {id(each): each for module in modules for each in vars(module).values()}
    commands = {each.name for each in there.values() if isinstance(each, click.Command) and each is not cli}
    inner = {
        name for each in cli.commands.values() if isinstance(each, click.Group) for name in each.commands
    }
    assert commands - inner == set(COMMANDS) - inner
    assert len(cli.commands) == len(list(cli.commands)) == len(COMMANDS)


@pytest.mark.parametrize("width", [50, 80, 120])
def test_help_lists_the_commands_as_click_does(width):
    context = click.Context(cli)
    ours, theirs = (click.HelpFormatter(width=width) for _ in range(2))
    cli.format_commands(context, ours)
    click.Group.format_commands(cli, context, theirs)
    assert ours.getvalue() == theirs.getvalue() != ""
