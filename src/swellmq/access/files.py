"""Reads the files that access control is given by its settings."""

from __future__ import annotations

from swellmq.errors import SettingsError


def read_text(path: str, setting: str, remedy: str, where: str) -> str:
    """The text of a file in UTF-8. `where` is the place of the setting that names it, for errors.

    Raises SettingsError where it can't be read.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) and error.strerror else "not text in UTF-8"
        raise SettingsError(setting, f"{path} can't be read: {problem}", remedy, where) from None
