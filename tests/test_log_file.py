"""A log file that can't be written: nobody who logs hears of it, and no line is lost."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from swellmq.log_file import LogFile


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.Logger("a log of its own")
    yield logger
    for handler in logger.handlers:
        handler.close()


def test_a_folder_that_is_taken_away(
    logger: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    file = folder / "swellmq.log"
    logger.addHandler(LogFile(str(file)))
    logger.info("one")
    shutil.rmtree(folder)
    logger.info("two")
    logger.info("three")
    told = capsys.readouterr().err
    assert told == f"{file}: the log can't be written: No such file or directory. It goes here\ntwo\nthree\n"
    folder.mkdir()
    logger.info("four")
    logger.info("five")
    assert file.read_text() == "four\nfive\n"
    assert capsys.readouterr().err == ""
    shutil.rmtree(folder)
    logger.info("six")
    assert "the log can't be written" in capsys.readouterr().err, "it is said anew"


def test_a_file_that_was_moved_away_is_opened_anew(logger: logging.Logger, tmp_path: Path) -> None:
    file = tmp_path / "swellmq.log"
    logger.addHandler(LogFile(str(file)))
    logger.info("one")
    file.rename(tmp_path / "swellmq.log.1")
    logger.info("two")
    assert file.read_text() == "two\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a system without /dev/full")
def test_a_disk_that_is_full(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logger.addHandler(LogFile("/dev/full"))
    logger.info("one")
    logger.info("two")
    told = capsys.readouterr().err
    assert told == "/dev/full: the log can't be written: No space left on device. It goes here\none\ntwo\n"
    logger.handlers.clear()  # what it could not write it would try again


def test_nobody_reads_the_standard_error_either(
    logger: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1) as broken, monkeypatch.context() as patch:
        patch.setattr("sys.stderr", broken)
        logger.addHandler(LogFile(str(tmp_path / "swellmq.log")))
        logger.handlers[0].baseFilename = str(tmp_path / "none" / "swellmq.log")  # type: ignore[attr-defined]
        logger.info("one")
        logger.info("two")
        patch.undo()
        with pytest.raises(BrokenPipeError):
            broken.close()


def test_a_line_that_makes_no_sense_is_told_as_ever(
    logger: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.addHandler(LogFile(str(tmp_path / "swellmq.log")))
    logger.info("%d", "no number")
    assert "TypeError" in capsys.readouterr().err
