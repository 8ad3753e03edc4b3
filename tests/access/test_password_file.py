"""Password files: who is in them, errors by line, and that a name which does not exist costs as much as another."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from access_helpers import quick_hash, write_passwords
from hypothesis import given
from hypothesis import strategies as st

from swellmq import SettingsError
from swellmq.access.hashes import PasswordHash
from swellmq.access.password_file import PasswordFile, User, load_password_file, parse_password_file
from swellmq.access.provider import Login
from swellmq.codec.spec import BAD_USER_NAME_OR_PASSWORD

scramp = pytest.importorskip("scramp", reason="the extra `auth` is not installed")


def login(username: str | None, password: bytes = b"secret") -> Login:
    return Login("client", username, password, "192.0.2.1")


def test_users_and_comments() -> None:
    text = f"# staff\n\njoe:{quick_hash('secret')}\n  jim:{quick_hash('other')}  \n"
    file = parse_password_file(text, "users")
    assert [file.knows(login(name)) for name in ("joe", "jim", "ada", None)] == [True, True, False, False]
    assert file.check(login("joe")).reason_code == 0
    assert file.check(login("jim")).reason_code == BAD_USER_NAME_OR_PASSWORD
    assert file.check(login("jim", b"other")).reason_code == 0
    assert file.check(login("ada")).reason_code == BAD_USER_NAME_OR_PASSWORD


def test_a_user_with_nothing_but_scram_logs_in_by_password_too() -> None:
    from swellmq.access.scram import make_credential

    file = parse_password_file(f"joe:{make_credential('secret').to_text()}\n", "users")
    assert file.check(login("joe")).reason_code == 0
    assert file.check(login("joe", b"x")).reason_code == BAD_USER_NAME_OR_PASSWORD
    assert list(file.users["joe"].scram) == ["SCRAM-SHA-256"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("joe", "not a line of the form user:hash"),
        (":$7$1$QUJD$QUJD", "not a line of the form user:hash"),
        ("joe:", "user joe has no password"),
        ("joe:secret", "user joe: no hash of a password. .*--batch"),
        ("joe:$7$1$QUJD", "user joe: a hash that is damaged"),
        (f"ada:{quick_hash('x')}", "user ada is there already, on line 2"),
    ],
)
def test_errors_name_the_line(line: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=r"^users:3: password file: " + problem):
        parse_password_file(f"# staff\nada:{quick_hash('x')}\n{line}\n", "users")


def test_a_file_that_can_t_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"conf.toml:3: access.password_file: .*can't be read: No such file"):
        load_password_file(str(tmp_path / "none"), "conf.toml:3")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not text in UTF-8"):
        load_password_file(str(tmp_path / "binary"), "")
    assert load_password_file(str(write_passwords(tmp_path / "users", joe="secret")), "").knows(login("joe"))


@given(st.text(st.sampled_from("joe:$67argon2idv=19,mSCRAM-SHA256+/=#\n\r\u2028\0")))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(SettingsError):
        assert isinstance(parse_password_file(text, "users"), PasswordFile)


class Counted(PasswordHash):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.count = 0

    def fits(self, password: bytes) -> bool:
        self.count += 1
        return password == b"secret"


def test_an_unknown_user_costs_one_hash_as_well_and_always_the_same() -> None:
    users = {name: User() for name in ("a", "b", "c", "d")}
    hashes = [Counted(name) for name in users]
    for user, known in zip(users.values(), hashes, strict=True):
        user.hash = known
    file = PasswordFile(users)
    file.check(login("a"))
    assert [known.count for known in hashes] == [1, 0, 0, 0]
    for _ in range(4):  # "secret" fits every hash here, but lets no unknown user in
        assert file.check(login("nobody")).reason_code == BAD_USER_NAME_OR_PASSWORD
    assert sorted(known.count for known in hashes) in ([0, 0, 1, 4], [0, 0, 0, 5])
