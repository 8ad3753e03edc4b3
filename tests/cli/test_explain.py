"""`swellmq explain`: the rule and its line, for both formats of ACL files."""

from __future__ import annotations

from pathlib import Path

import pytest

from swellmq.cli.main import main


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "acl.toml").write_text('[[allow]]\nuser = "ada"\ntopic = "home/#"\n[[deny]]\npublish = "home/safe"\n')
    path = tmp_path / "swellmq.toml"
    path.write_text(f'[access]\nacl_file = "{tmp_path / "acl.toml"}"\n')
    return str(path)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["--user", "ada", "publish", "home/x"],
            0,
            "allowed: this rule allows it\n  {}/acl.toml:3: allow topic home/#",
        ),
        (["--user", "ada", "publish", "home/safe"], 1, "denied: this rule denies it\n  {}/acl.toml:5: deny publish"),
        (["--client", "c", "publish", "home/x"], 1, "denied: no rule allows it\n  {}/acl.toml: 2 rules"),
        (["-u", "ada", "subscribe", "$share/g/home/+"], 0, "allowed"),
    ],
)
def test_which_rule_decides(
    config: str, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(["explain", "--config", config, *words]) == code
    assert capsys.readouterr().out.startswith(said.replace("{}", str(Path(config).parent)))


def test_a_file_of_mosquitto_and_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acl = tmp_path / "acl"
    acl.write_text("pattern write dev/%c/#\n")
    assert main(["explain", "--acl", str(acl), "-i", "a+", "publish", "dev/x"]) == 1
    assert "with + or # passes no pattern" in capsys.readouterr().out
    assert main(["explain", "publish", "a"]) == 0
    assert capsys.readouterr().out == "allowed: there is no ACL file (access.acl_file)\n"


@pytest.mark.parametrize(
    ("right", "topic", "said"), [("publish", "a/#", "no topic name"), ("subscribe", "a#", "filter")]
)
def test_bad_usage(config: str, capsys: pytest.CaptureFixture[str], right: str, topic: str, said: str) -> None:
    assert main(["explain", "--config", config, right, topic]) == 2
    assert said in capsys.readouterr().err
    assert main(["explain", "--acl", config + ".none", "publish", "a"]) == 2
    assert "can't be read" in capsys.readouterr().err


def test_the_file_of_a_listener(tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own"
    own.write_text("topic write a\n")
    text = Path(config).read_text() + f'[[listener]]\nport = 1884\nacl_file = "{own}"\n[[listener]]\nunix = "/run/s"\n'
    Path(config).write_text(text)
    assert main(["explain", "--config", config, "--listener", "1884", "publish", "a"]) == 0
    assert f"{own}:1: topic write a" in capsys.readouterr().out
    assert main(["explain", "--config", config, "--listener", "/run/s", "publish", "a"]) == 1
    assert main(["explain", "--config", config, "--listener", "1", "publish", "a"]) == 2
    assert "no listener has the port or path 1" in capsys.readouterr().err
