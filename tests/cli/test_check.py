"""`swellmq check`: what is wrong, or what a broker would do."""

from __future__ import annotations

from pathlib import Path

import pytest

from swellmq.cli.check import pool_lines, report
from swellmq.cli.main import main
from swellmq.settings import Settings


def check(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    file = tmp_path / "s.toml"
    file.write_text(text)
    code = main(["check", str(file)])
    captured = capsys.readouterr()
    return code, captured.out.replace(str(file), "s.toml"), captured.err.replace(str(file), "s.toml")


def test_a_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("port = 70000\n", tmp_path, capsys) == (
        2,
        "",
        "swellmq: s.toml:1: port = 70000: above 65535. Give a whole number from 0 to 65535\n",
    )


def test_a_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWELLMQ_LOG_LEVEL", "debug")
    text = 'preset = "small"\nbind = "0.0.0.0"\nmax_connections = 800\n[pool]\nmax_size = 600\n'
    code, out, err = check(text, tmp_path, capsys)
    assert (code, err) == (0, "")
    assert (
        out
        == """\
Settings that differ from the defaults:
  preset = small (s.toml:1)
  bind = 0.0.0.0 (s.toml:2)
  max_connections = 800 connections (s.toml:3)
  pool.initial_size = 256 objects (preset small)
  pool.max_size = 600 objects (s.toml:5)
  log.level = debug (environment)
Listeners:
  0.0.0.0:1883
Pool, dynamic:
  256 connection objects are preheated at start; steps of growth: 3
  256 -> 384 when 204 are in use
  384 -> 576 when 307 are in use
  576 -> 600 when 460 are in use
  200 more are made on demand, up to max_connections = 800
Memory of the connection objects, without what their clients make the broker keep:
  0.1 MB at start, 0.2 MB at max_connections
Warning: 0.0.0.0:1883 is open to whoever can reach it: there is no authentication
"""
    )


def test_the_defaults() -> None:
    lines = report(Settings()).splitlines()
    assert lines[:4] == ["Settings that differ from the defaults:", "  none", "Listeners:", "  127.0.0.1:1883"]
    assert "  1024 -> 1536 when 819 are in use" in lines
    assert "  1536 -> 2304 when 1228 are in use" in lines
    assert "  2304 -> 3456 when 1843 are in use" in lines


@pytest.mark.parametrize(("preset", "steps"), [("default", 12), ("small", 10), ("medium", 10), ("large", 6)])
def test_steps_of_the_presets(preset: str, steps: int) -> None:
    lines = pool_lines(Settings(preset=preset))
    assert lines[1].endswith(f"steps of growth: {steps}")
    assert sum("->" in line for line in lines) == steps


def test_factor_and_threshold() -> None:
    settings = Settings(pool_factor="2", pool_threshold_percent=50, pool_initial_size=100, pool_max_size=350)
    assert [line for line in pool_lines(settings) if "->" in line] == [
        "  100 -> 200 when 50 are in use",
        "  200 -> 350 when 100 are in use",
    ]


def test_modes_without_growth() -> None:
    assert pool_lines(Settings(pool_mode="none"))[1] == "  every connection object is made on demand"
    assert pool_lines(Settings(pool_mode="fixed"))[1] == "  100000 connection objects are preheated at start"


def test_notes() -> None:
    assert "Note: pool.initial_size is lowered from 1024 (default) to pool.max_size = 300" in report(
        Settings(pool_max_size=300)
    )


def test_the_files_of_access_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users = tmp_path / "users"
    users.write_text("joe:$6$QUJD$QUJD\n")
    config = tmp_path / "swellmq.toml"
    config.write_text(f'[access]\npassword_file = "{users}"\n')
    assert main(["check", str(config)]) == 0
    out = capsys.readouterr().out
    assert out.endswith(
        "Access:\n  password file: 1 users, 0 of them with SCRAM\n  without a user name: nobody\n"
        "  what they may do: everything\n  banned for 300 s: an address after 10 failed logins within 60 s\n"
    )
    users.write_text("joe\n")
    assert main(["check", str(config)]) == 2
    assert f"{users}:1: password file: not a line of the form user:hash" in capsys.readouterr().err


def test_the_files_of_tls_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.pem"
    text = f'[[listener]]\nport = 8883\ncertificate = "{file}"\n'
    assert "c.pem can't be read" in check(text, tmp_path, capsys)[2]
    file.write_text("nonsense")
    code, _, err = check(text, tmp_path, capsys)
    assert code == 2 and "c.pem is of no use" in err


def test_admin_is_told_without_its_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'admin = "127.0.0.1:18083"\nadmin_token = "correct horse battery"\n'
    code, out, err = check(text, tmp_path, capsys)
    assert (code, err) == (0, "")
    assert "  admin_token = *** (s.toml:2)\n" in out
    assert "Admin: http://127.0.0.1:18083/\n" in out
    text = 'admin = "127.0.0.1:18083"\nadmin_token_file = "/nothing/here"\n'
    code, out, err = check(text, tmp_path, capsys)
    assert (code, out) == (2, "")
    assert "s.toml:2: admin_token_file = " in err


def test_listeners_with_files_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "acl").write_text("topic read a\n")
    (tmp_path / "users").write_text("joe:$6$QUJD$QUJD\n")
    text = '[[listener]]\nport = 1\n[[listener]]\nbind = ["127.0.0.1", "127.0.0.2"]\nport = 2\n'
    text += f'acl_file = "{tmp_path}/acl"\npassword_file = "{tmp_path}/users"\n'
    code, out, _ = check(text + f'[[listener]]\nport = 3\nacl_file = "{tmp_path}/acl"\n', tmp_path, capsys)
    assert code == 0
    lines = [line.strip() for line in out.partition("Access:\n")[2].splitlines()]
    assert lines[:2] == ["without a user name: anybody", "what they may do: everything"]
    assert lines[2:7] == [
        "listener 2: password file: 1 users, 0 of them with SCRAM",
        "listener 2: without a user name: nobody",
        f"listener 2: what they may do: 1 rules in {tmp_path}/acl",
        "listener 4: without a user name: anybody",
        f"listener 4: what they may do: 1 rules in {tmp_path}/acl",
    ]
