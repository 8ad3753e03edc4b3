"""The command line's own part: which command, its help, what is unknown."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from swellmq.cli.main import COMMANDS, main


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    for command, meaning in COMMANDS.items():
        assert any(line.split(maxsplit=1) == [command, meaning] for line in lines)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["srve"], "swellmq: unknown command srve. Did you mean serve?\n"),
        (["xyzzy"], "swellmq: unknown command xyzzy. `swellmq --help` lists the commands\n"),
        (["--port", "1"], "swellmq: unknown option --port. `swellmq --help` lists the commands\n"),
        (
            ["serve", "--pool.maxsize", "3"],
            "swellmq: serve: unknown option --pool.maxsize. Did you mean --pool.max-size?\n",
        ),
        (["serve", "--prot=3"], "swellmq: serve: unknown option --prot. Did you mean --port?\n"),
        (
            ["serve", "--xyz", "d"],
            "swellmq: serve: unknown option --xyz. `swellmq serve --help` lists the options\n",
        ),
        (["serve", "1883"], "swellmq: serve: unknown argument 1883. `swellmq serve --help` lists the options\n"),
    ],
)
def test_unknown_words(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err == message


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip()


def test_help_imports_no_command() -> None:
    code = (
        "import sys; from swellmq.cli.main import main; main([]);"
        "print([name for name in sys.modules if name.startswith('swellmq.')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(COMMANDS) & {name.rpartition(".")[2] for name in eval(done.stderr)} == set()


def test_who_reads_has_seen_enough() -> None:
    """As by `swellmq reference | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "swellmq", "reference"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("command", ["check", "serve", "data", "plan"])
def test_interrupted(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_words: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("swellmq.cli.parser.run_command", interrupt)
    monkeypatch.setattr("swellmq.cli.start.start", interrupt)
    assert main([command]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", ["check /dev/null", "plan", "reference", "sub -t a -p 1"])
@pytest.mark.parametrize("streams", [">/dev/full", ">&-", "<&- >&- 2>&-"])
def test_output_that_can_not_be_written(words: str, streams: str) -> None:
    command = f"{sys.executable} -P -m swellmq {words} {streams}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode == (1 if "full" in streams or words.startswith("sub") else 0)
    assert ("No space left on device" in done.stderr) == ("full" in streams and not words.startswith("sub"))
