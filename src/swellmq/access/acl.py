"""Reads an ACL file: ours where its name ends in .toml, mosquitto's elsewhere."""

from __future__ import annotations

from swellmq.access.acl_mosquitto import parse_mosquitto
from swellmq.access.acl_toml import parse_toml
from swellmq.access.rules import Rules
from swellmq.errors import SettingsError


def load_acl(path: str, where: str) -> Rules:
    """The rules of an ACL file. `where` is the place of the setting that names it, for errors.

    Raises SettingsError with file and line for anything that can't be used.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) and error.strerror else "not text in UTF-8"
        remedy = "Give the path of a file that the broker's user may read"
        raise SettingsError("access.acl_file", f"{path} can't be read: {problem}", remedy, where) from None
    return parse_toml(text, path) if path.endswith(".toml") else parse_mosquitto(text, path)
