"""What the tests of access share: password lines that cost no time to check, and files with them."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path


def quick_hash(password: str) -> str:
    """A hash of mosquitto's `$7$` format with one iteration."""
    salt = b"0123456789ab"
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 1)
    return f"$7$1${b64encode(salt).decode()}${b64encode(key).decode()}"


def write_passwords(path: Path, **passwords: str) -> Path:
    """A password file."""
    path.write_text("".join(f"{user}:{quick_hash(password)}\n" for user, password in passwords.items()))
    return path
