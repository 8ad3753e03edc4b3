"""argparse, for all commands: how wide help is, and a command run with the arguments that it declares."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys

from swellmq.cli.main import fail

EXIT_NOT_READ = 1

# Nothing here is translated, and to find that out costs a broker 0.2 MB (gettext imports locale and its tables).
argparse._ = str  # type: ignore[attr-defined]  # what argparse translates with


class HelpFormatter(argparse.HelpFormatter):
    """As wide as the terminal. argparse would ask `shutil`, which costs a broker that shows no help 0.5 MB."""

    def __init__(self, prog: str) -> None:
        columns = os.environ.get("COLUMNS", "")
        try:
            width = int(columns) if columns.isdecimal() else os.get_terminal_size().columns
        except OSError:  # no terminal
            width = 80
        super().__init__(prog, width=width - 2)


def run_command(module_name: str, command: str, words: list[str]) -> int:
    """Import a command's module and run it with its arguments; `command` is what it is called in what is printed."""
    module = importlib.import_module(module_name)
    parser = argparse.ArgumentParser(prog="swellmq " + command, allow_abbrev=False, formatter_class=HelpFormatter)
    module.add_arguments(parser)
    arguments, unknown = parser.parse_known_args(words)
    if unknown:
        word = unknown[0].partition("=")[0]
        flags = list(parser._option_string_actions)  # argparse has no public list of its flags
        kind = "option" if word.startswith("-") else "argument"
        return fail(f"{command}: unknown {kind} {word}", word, flags, f"`swellmq {command} --help` lists the options")
    del parser  # the broker has no use for it: `serve` gives its memory back
    try:
        code: int = module.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough, and what is left must not be tried again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_NOT_READ
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        print(f"swellmq: {command}: {error.filename or 'the output'}: {error.strerror}", file=sys.stderr)
        return EXIT_NOT_READ
    return code
