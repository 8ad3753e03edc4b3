"""A password file: who there is, and what is kept of their passwords; read at start and at reload, never written here.

A line is `user:hash`; empty lines and lines that begin with `#` are comments. The hashes are those of `hashes.py`, so
that the files of mosquitto are read as they are. A user may have SCRAM verifiers on further lines, for clients that log
in by SCRAM; where there is nothing else, a plain password is checked against one of them.
"""

from __future__ import annotations

import hmac
from secrets import token_bytes
from typing import Final, final

from mypy_extensions import mypyc_attr

from swellmq.access.files import read_text
from swellmq.access.hashes import SCRAM_PREFIX, MissingLibrary, PasswordHash, ScramHash, parse_hash
from swellmq.access.provider import Login, Provider, Verdict, wrong_password
from swellmq.errors import SettingsError

REMEDY: Final = "Set the password anew with `swellmq passwd`"


@final
@mypyc_attr(native_class=True)
class User:
    """What a password file says of one user."""

    def __init__(self) -> None:
        self.hash: PasswordHash | None = None  # what a plain password has to fit
        self.scram: dict[str, ScramHash] = {}  # by method

    def texts(self) -> list[str]:
        """All that is kept of the user's password: it has changed if these have."""
        texts = [one.text for one in self.scram.values()]
        if self.hash is not None:
            texts.append(self.hash.text)
        return sorted(texts)


@final
@mypyc_attr(native_class=True)
class PasswordFile(Provider):
    """The users of one password file."""

    def __init__(self, users: dict[str, User]) -> None:
        super().__init__("password file")
        self.users = users
        self.hashes: list[PasswordHash] = []
        for user in users.values():
            if user.hash is not None:
                self.hashes.append(user.hash)
        self.secret = token_bytes(32)

    def describe(self) -> str:
        scram = sum(1 for user in self.users.values() if user.scram)
        return f"password file: {len(self.users)} users, {scram} of them with SCRAM"

    def knows(self, login: Login) -> bool:
        return login.username is not None and login.username in self.users

    def check(self, login: Login) -> Verdict | None:
        user = self.users.get(login.username) if login.username is not None else None
        if user is None or user.hash is None:
            self.waste_time(login)
            return wrong_password()
        fits = user.hash.fits(login.password) and bool(login.password)  # the hash of nothing lets nobody in
        return Verdict(0) if fits else wrong_password()

    def waste_time(self, login: Login) -> None:
        """Compute as long as for a user that there is: who asks must not learn which names exist.

        Which hash is computed depends on the name, as for real users, and stays the same at each try.
        """
        if self.hashes:
            name = (login.username or "").encode()
            number = int.from_bytes(hmac.digest(self.secret, name, "sha256")[:8], "big")
            self.hashes[number % len(self.hashes)].fits(login.password)


def differences(old: PasswordFile, new: PasswordFile) -> tuple[set[str], set[str], set[str]]:
    """The users that were added, that were removed, and whose passwords have changed."""
    before, after = set(old.users), set(new.users)
    changed = {name for name in before & after if old.users[name].texts() != new.users[name].texts()}
    return after - before, before - after, changed


def load_password_file(path: str, where: str, setting: str = "access.password_file") -> PasswordFile:
    """Read a password file. `where` is the place of the `setting` that names it, for errors.

    Raises SettingsError with file and line for anything that can't be used.
    """
    remedy = "Make one with `swellmq passwd FILE USER`, and let the broker's user read it"
    return parse_password_file(read_text(path, setting, remedy, where), path)


def parse_password_file(text: str, path: str) -> PasswordFile:
    """The users of a password file's text; raises as `load_password_file`."""
    users: dict[str, User] = {}
    lines: dict[tuple[str, str], int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        place = f"{path}:{number}"
        username, colon, secret = line.strip().partition(":")
        if not colon or not username:
            raise SettingsError("password file", "not a line of the form user:hash", REMEDY, place)
        if not secret:
            problem = f"user {username} has no password"
            raise SettingsError("password file", problem, "Remove the line, or set a password", place)
        try:
            made = parse_hash(secret)
        except MissingLibrary as missing:
            raise SettingsError("password file", str(missing), "Install it", place) from None
        except ValueError as error:
            remedy = REMEDY + "; a file of plain passwords is read by `swellmq passwd --batch`"
            raise SettingsError("password file", f"user {username}: {error}", remedy, place) from None
        kind = secret.partition("$")[0] if secret.startswith(SCRAM_PREFIX) else "password"
        if (username, kind) in lines:
            problem = f"user {username} is there already, on line {lines[username, kind]}"
            raise SettingsError("password file", problem, "Remove one of the two lines", place)
        lines[username, kind] = number
        user = users.setdefault(username, User())
        if isinstance(made, ScramHash):
            user.scram[made.credential.method] = made
        else:
            user.hash = made
    for user in users.values():
        if user.hash is None:
            user.hash = next(iter(user.scram.values()))
    return PasswordFile(users)
