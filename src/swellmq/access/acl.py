"""Reads an ACL file: ours where its name ends in .toml, mosquitto's elsewhere."""

from __future__ import annotations

from swellmq.access.acl_mosquitto import parse_mosquitto
from swellmq.access.acl_toml import parse_toml
from swellmq.access.files import read_text
from swellmq.access.rules import Rules


def load_acl(path: str, where: str, setting: str = "access.acl_file") -> Rules:
    """The rules of an ACL file. `where` is the place of the `setting` that names it, for errors.

    Raises SettingsError with file and line for anything that can't be used.
    """
    text = read_text(path, setting, "Give the path of a file that the broker's user may read", where)
    return parse_toml(text, path) if path.endswith(".toml") else parse_mosquitto(text, path)
