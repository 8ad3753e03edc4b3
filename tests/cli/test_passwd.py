"""`swellmq passwd`: what it writes, what it leaves alone, and what it refuses."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from swellmq.access.password_file import load_password_file
from swellmq.access.provider import Login
from swellmq.cli.main import main

pytest.importorskip("argon2", reason="the extra `auth` is not installed")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "users"


def run(monkeypatch: pytest.MonkeyPatch, text: str, *words: object) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    return main(["passwd", *map(str, words)])


def fits(path: Path, username: str, password: str) -> bool:
    verdict = load_password_file(str(path), "").check(Login("c", username, password.encode(), ""))
    return verdict is not None and verdict.reason_code == 0


def test_a_new_file_is_for_its_owner_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "secret\n", path, "joe") == 0
    assert fits(path, "joe", "secret")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.listdir(path.parent) == ["users"]


def test_comments_and_other_users_stay(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "jim:$6$QUJD$QUJD"
    path.write_text(f"# staff\njoe:$6$QUJD$QUJD\n\n{other}\n# end\n")
    assert run(monkeypatch, "secret\n", path, "joe") == 0
    lines = path.read_text().splitlines()
    assert [lines[0], *lines[2:]] == ["# staff", "", other, "# end"]
    assert fits(path, "joe", "secret")
    assert run(monkeypatch, "", path, "joe", "--delete") == 0
    assert path.read_text() == f"# staff\n\n{other}\n# end\n"


def test_a_batch(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "joe:with:colon\n\njim:x\n", path, "--batch") == 0
    assert fits(path, "joe", "with:colon") and fits(path, "jim", "x")


def test_scram_verifiers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scramp", reason="the extra `auth` is not installed")
    assert run(monkeypatch, "secret\n", path, "joe", "--scram") == 0
    assert sorted(load_password_file(str(path), "").users["joe"].scram) == ["SCRAM-SHA-1", "SCRAM-SHA-256"]
    assert run(monkeypatch, "other\n", path, "joe") == 0
    assert load_password_file(str(path), "").users["joe"].scram == {}  # those of the old password are gone


def test_a_link_stays_a_link(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("")
    link = tmp_path / "link"
    link.symlink_to(path)
    assert run(monkeypatch, "secret\n", link, "joe") == 0
    assert link.is_symlink() and fits(path, "joe", "secret")


@pytest.mark.parametrize(
    ("text", "words", "code", "said"),
    [
        ("", ["joe"], 1, "an empty password is none"),
        ("", ["a:b"], 1, "'a:b' can't be a user name in a password file"),
        ("", [""], 1, "can't be a user name"),
        ("", ["a\nb"], 1, "can't be a user name"),
        ("x\n", [" a"], 1, "begins or ends with a space"),
        ("joe\n", ["--batch"], 1, "line 1 of the input is not of the form user:password"),
        ("", ["ada", "--delete"], 1, "has no user ada"),
        ("", [], 2, "give either USER or --batch"),
        ("", ["joe", "--batch"], 2, "give either USER or --batch"),
    ],
)
def test_what_is_refused_changes_nothing(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    words: list[str],
    code: int,
    said: str,
) -> None:
    path.write_text("jim:$6$QUJD$QUJD\n")
    assert run(monkeypatch, text, path, *words) == code
    assert said in capsys.readouterr().err
    assert path.read_text() == "jim:$6$QUJD$QUJD\n"
    assert os.listdir(path.parent) == ["users"]


@pytest.mark.parametrize(("name", "said"), [("none/users", "there is no folder"), (".", "Is a directory")])
def test_a_place_where_no_file_can_be(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "", tmp_path / name, "joe") == 1, "and no password is asked for"
    assert f"swellmq passwd: {tmp_path / name}: {said}" in capsys.readouterr().err


def test_a_damaged_file_is_not_made_worse(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text("joe:plain\n")
    assert run(monkeypatch, "x\n", path, "ada") == 1
    assert f"{path}:1: password file: user joe: no hash of a password" in capsys.readouterr().err
    assert path.read_text() == "joe:plain\n"
