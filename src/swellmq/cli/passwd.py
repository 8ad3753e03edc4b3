"""`swellmq passwd FILE USER`: set, add or delete passwords in a password file.

The file is written anew beside the old one and then takes its place, so that a broker that reads it at that moment sees
the old or the new one. Comments and the order of the lines stay.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import tempfile
from collections.abc import Iterable
from typing import Final

from swellmq.errors import SettingsError

EPILOG: Final = """\
The password is asked for twice, or read from standard input where that is no terminal. A running broker takes the new
file on SIGHUP.

examples:
  swellmq passwd users.txt ada
  echo 'a password' | swellmq passwd users.txt ada
  swellmq passwd users.txt ada --delete
  swellmq passwd users.txt --batch < plain.txt       (lines of the form user:password)
"""
MODE: Final = 0o600  # hashes are for the broker alone
EXIT_FAILED: Final = 1
EXIT_BAD_USAGE: Final = 2


class PasswdError(Exception):
    """What can't be done, in words for the user."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Set passwords in a password file, as Argon2id hashes; the file is made if it is not there."
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("file", metavar="FILE", help="the password file")
    parser.add_argument("user", metavar="USER", nargs="?", help="whose password")
    parser.add_argument("--delete", action="store_true", help="remove the user")
    parser.add_argument("--batch", action="store_true", help="read lines of the form user:password")
    parser.add_argument("--scram", action="store_true", help="add what clients need that log in by SCRAM (MQTT 5.0)")


def run(arguments: argparse.Namespace) -> int:
    if (arguments.user is None) != arguments.batch or (arguments.batch and arguments.delete):
        print("swellmq passwd: give either USER or --batch, and --delete with USER only", file=sys.stderr)
        return EXIT_BAD_USAGE
    try:
        change(arguments)
    except OSError as error:
        print(f"swellmq passwd: {arguments.file}: {error.strerror}", file=sys.stderr)
        return EXIT_FAILED
    except (PasswdError, SettingsError) as error:
        print(f"swellmq passwd: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def change(arguments: argparse.Namespace) -> None:
    """Do what is asked; raises PasswdError, or SettingsError for a file that is damaged."""
    path = os.path.realpath(arguments.file)
    lines = read_lines(path)
    if not os.path.isdir(os.path.dirname(path)):
        raise PasswdError(f"{arguments.file}: there is no folder {os.path.dirname(path)}")
    if arguments.user is not None and not arguments.delete:
        check_username(arguments.user)  # before a password is asked for
    if arguments.delete:
        lines, removed = without(lines, arguments.user)
        if not removed:
            raise PasswdError(f"{arguments.file} has no user {arguments.user}")
        write_file(path, lines)
        return
    passwords = read_batch(sys.stdin) if arguments.batch else {arguments.user: ask_password(arguments.user)}
    for username, password in passwords.items():
        check_username(username)
        lines = with_user(lines, username, make_lines(username, password, arguments.scram))
    write_file(path, lines)


def read_lines(path: str) -> list[str]:
    """The lines of a password file, which is checked before it is changed; none where there is no file."""
    from swellmq.access.password_file import parse_password_file

    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise PasswdError(f"{path} is not text in UTF-8") from None
    parse_password_file(text, path)
    return text.removesuffix("\n").split("\n") if text else []


def read_batch(lines: Iterable[str]) -> dict[str, str]:
    """The passwords of a batch, by user."""
    passwords: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        username, colon, password = line.rstrip("\r\n").partition(":")
        if not line.strip():
            continue
        if not colon or not password:
            raise PasswdError(f"line {number} of the input is not of the form user:password")
        passwords[username] = password
    return passwords


def ask_password(username: str) -> str:
    """The password of a user: from the terminal, twice, or the first line of standard input."""
    if not sys.stdin.isatty():
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass(f"Password of {username}: ")
        if getpass.getpass("Once more: ") != password:
            raise PasswdError("the two are not the same; nothing is changed")
    if not password:
        raise PasswdError("an empty password is none; nothing is changed")
    return password


def check_username(username: str) -> None:
    if not username or ":" in username or not username.isprintable() or username.startswith("#"):
        raise PasswdError(
            f"{username!r} can't be a user name in a password file: it is empty, begins with #, or has a colon or a"
            " character that can't be printed"
        )
    if username != username.strip():
        raise PasswdError(f"{username!r} can't be a user name in a password file: it begins or ends with a space")


def make_lines(username: str, password: str, scram: bool) -> list[str]:
    """The lines of one user."""
    from swellmq.access.hashes import MissingLibrary, make_hash

    try:
        lines = [f"{username}:{make_hash(password.encode())}"]
        if scram:
            from swellmq.access.scram import METHODS, make_credential

            lines += [f"{username}:{make_credential(password, method).to_text()}" for method in METHODS]
    except MissingLibrary as error:
        raise PasswdError(str(error)) from None
    except ImportError:
        raise PasswdError(str(MissingLibrary("SCRAM", "scramp"))) from None
    except ValueError as error:
        raise PasswdError(f"SCRAM does not take this password: {error}") from None
    return lines


def belongs_to(line: str, username: str) -> bool:
    """Whether a line of a password file is about a user."""
    return not line.startswith("#") and line.strip().partition(":")[0] == username


def without(lines: list[str], username: str) -> tuple[list[str], bool]:
    """The lines without those of a user, and whether there were any."""
    rest = [line for line in lines if not belongs_to(line, username)]
    return rest, len(rest) < len(lines)


def with_user(lines: list[str], username: str, new: list[str]) -> list[str]:
    """The lines with new ones for a user, in the place of the old ones or at the end."""
    place = next((index for index, line in enumerate(lines) if belongs_to(line, username)), len(lines))
    rest, _ = without(lines, username)
    return rest[:place] + new + rest[place:]


def write_file(path: str, lines: list[str]) -> None:
    """Put a new file in the place of the old one, with the old owner where that is possible, readable by it alone."""
    folder = os.path.dirname(path)
    descriptor, unfinished = tempfile.mkstemp(prefix=".passwd-", dir=folder)  # its mode is 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
            file.flush()
            os.fchmod(file.fileno(), MODE)
            if os.path.exists(path):
                old = os.stat(path)
                if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), old.st_uid, old.st_gid)
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError:
        os.unlink(unfinished)
        raise
    parent = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(parent)  # the change of names too
    finally:
        os.close(parent)
