"""`swellmq COMMAND`: finds the command, reads its arguments, runs it.

A command is a module of this package with `add_arguments(parser)` and `run(arguments) -> int`, the exit code. It is
imported only when it is asked for, so that `swellmq serve` starts without what the others need.
"""

from __future__ import annotations

import os
import sys
from typing import Final

COMMANDS: Final = {
    "serve": "run the broker",
    "check": "read a configuration, say what is wrong and what it would do",
    "pub": "publish messages",
    "sub": "subscribe and print the messages that come",
    "ping": "say whether a broker answers",
    "top": "watch a running broker: its pool, rates, alarms and clients",
    "trace": "show every packet of one client of a running broker",
    "bench": "measure it, beside other brokers",
    "passwd": "set passwords in a password file",
    "plan": "say what so many connections need of memory, system and time",
    "doctor": "look for what on this machine stands in the way of many connections",
    "explain": "say what a client may do, and which rule decides",
    "data": "look after the data folder of a broker",
    "reference": "print every setting with its default, unit and meaning",
}
EXIT_BAD_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130  # 128 and SIGINT, as shells count


def main(argv: list[str] | None = None) -> int:
    """Run a command line, given without the program's name; returns the exit code.

    What argparse finds (a missing value, `--help` of a command) it answers itself, with SystemExit.
    """
    words = sys.argv[1:] if argv is None else argv
    open_streams()
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if words[0] in ("-V", "--version"):
        from swellmq.version import describe

        print(describe())
        return 0
    if words[0] not in COMMANDS:
        kind = "option" if words[0].startswith("-") else "command"
        return fail(f"unknown {kind} {words[0]}", words[0], list(COMMANDS), "`swellmq --help` lists the commands")
    try:
        return run(words[0], words[1:])
    except KeyboardInterrupt:  # what a command has to put in order first, it has by now
        return EXIT_INTERRUPTED


def run(command: str, words: list[str]) -> int:
    """Run a command with its arguments; returns the exit code."""
    if command == "serve":
        from swellmq.cli.start import read_flags, start

        flags = read_flags(words)
        if flags is not None:
            return start(flags)
    from swellmq.cli.parser import run_command

    return run_command("swellmq.cli." + command, command, words)


def open_streams() -> None:
    """Open what is closed of the standard streams to nowhere, so that nothing that is opened later takes its place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # as long as the process


def help_text() -> str:
    """What `swellmq` says about itself."""
    width = max(len(command) for command in COMMANDS)
    lines = ["usage: swellmq COMMAND [options]", "", "An MQTT broker.", "", "commands:"]
    lines += [f"  {command:{width}}  {meaning}" for command, meaning in COMMANDS.items()]
    lines += ["", "`swellmq COMMAND --help` tells more; `swellmq --version` tells the version."]
    return "\n".join(lines)


def fail(problem: str, word: str, names: list[str], remedy: str) -> int:
    """Say what is wrong with a command line, and what was meant or may help; returns the exit code."""
    from swellmq.options import did_you_mean

    print(f"swellmq: {problem}. {did_you_mean(word, names) or remedy}", file=sys.stderr)
    return EXIT_BAD_USAGE
