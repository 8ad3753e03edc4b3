"""What a password file keeps of a password, and whether a password fits: Argon2id, mosquitto's `$6$` and `$7$`, SCRAM.

A hash is computed in a worker thread, never in the loop: it takes milliseconds by design. All of them let go of the
interpreter meanwhile. The libraries of the extra `auth` are imported by the hashes that need them, when a file has one.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode
from secrets import token_bytes
from typing import Final

from mypy_extensions import mypyc_attr

# OWASP's choice for a server: 19 MiB and some 20 ms each, so that two at a time cost a small machine little.
ARGON2_MEMORY_KIB: Final = 19_456
ARGON2_PASSES: Final = 2
ARGON2_LANES: Final = 1

PBKDF2_KEY_BYTES: Final = 64  # mosquitto's: SHA-512
PBKDF2_ITERATIONS_MAX: Final = 10_000_000  # several seconds: more is a slip of the pen
SCRAM_PREFIX: Final = "SCRAM-"


class MissingLibrary(Exception):
    """A hash needs a library that is not installed; the text says how to get it."""

    def __init__(self, what: str, package: str) -> None:
        super().__init__(f"{what} needs {package}, which is not installed: pip install 'swellmq[auth]'")


@mypyc_attr(native_class=True, allow_interpreted_subclasses=True)
class PasswordHash:
    """One stored hash. `text` is how it stands in the file."""

    def __init__(self, text: str) -> None:
        self.text = text

    def fits(self, password: bytes) -> bool:
        """Whether `password` is the one. Computes for milliseconds; in any thread."""
        raise NotImplementedError


@mypyc_attr(native_class=True)
class Argon2Hash(PasswordHash):
    """Argon2 in its own encoding, `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`: ours, and mosquitto's from 2.1 on."""

    def fits(self, password: bytes) -> bool:
        from argon2.exceptions import Argon2Error  # the extra `auth`; the file has such a hash, so it is there
        from argon2.low_level import Type, verify_secret

        kind = {"argon2i": Type.I, "argon2d": Type.D, "argon2id": Type.ID}[self.text.split("$")[1]]
        try:
            return verify_secret(self.text.encode(), password, kind)
        except Argon2Error:
            return False


@mypyc_attr(native_class=True)
class Sha512Hash(PasswordHash):
    """mosquitto's `$6$salt$hash`: one round of SHA-512 over password and salt. Weak; read, never written."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        _, _, salt, digest = text.split("$")
        self.salt = b64decode(salt, validate=True)
        self.digest = b64decode(digest, validate=True)

    def fits(self, password: bytes) -> bool:
        return hmac.compare_digest(hashlib.sha512(password + self.salt).digest(), self.digest)


@mypyc_attr(native_class=True)
class Pbkdf2Hash(PasswordHash):
    """mosquitto's `$7$iterations$salt$hash`: PBKDF2 with SHA-512. Read, never written."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        _, _, iterations, salt, digest = text.split("$")
        self.iterations = int(iterations)
        if not 1 <= self.iterations <= PBKDF2_ITERATIONS_MAX:
            raise ValueError(f"{iterations} iterations are not from 1 to {PBKDF2_ITERATIONS_MAX}")
        self.salt = b64decode(salt, validate=True)
        self.digest = b64decode(digest, validate=True)

    def fits(self, password: bytes) -> bool:
        key = hashlib.pbkdf2_hmac("sha512", password, self.salt, self.iterations, PBKDF2_KEY_BYTES)
        return hmac.compare_digest(key, self.digest)


@mypyc_attr(native_class=True)
class ScramHash(PasswordHash):
    """A SCRAM verifier: made for SCRAM, and good for a plain password too, RFC 5802 section 3."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        from swellmq.access.scram import parse_credential  # it needs scramp, of the extra `auth`

        self.credential = parse_credential(text)

    def fits(self, password: bytes) -> bool:
        from scramp import ScramException, ScramMechanism  # type: ignore[import-untyped]  # scramp ships no types

        known = self.credential
        try:
            made = ScramMechanism(known.method).make_auth_info(password.decode(), known.iterations, known.salt)
        except (ScramException, UnicodeDecodeError):
            return False
        return hmac.compare_digest(made[1], known.stored_key)


def parse_hash(text: str) -> PasswordHash:
    """The hash that stands in a password file as `text`.

    Raises ValueError where it is none, and MissingLibrary where it is one that can't be checked here.
    """
    try:
        if text.startswith("$argon2"):
            return _argon2(text)
        if text.startswith("$6$"):
            return Sha512Hash(text)
        if text.startswith("$7$"):
            return Pbkdf2Hash(text)
        if text.startswith(SCRAM_PREFIX):
            return ScramHash(text)
    except ImportError:
        raise MissingLibrary("a SCRAM verifier", "scramp") from None
    except ValueError as error:
        raise ValueError(f"a hash that is damaged: {error}") from None
    raise ValueError("no hash of a password")


def _argon2(text: str) -> PasswordHash:
    try:
        from argon2 import extract_parameters
        from argon2.exceptions import InvalidHashError
    except ImportError:
        raise MissingLibrary("an Argon2 hash", "argon2-cffi") from None
    try:
        extract_parameters(text)
    except InvalidHashError:
        raise ValueError("not in the encoding of Argon2") from None
    return Argon2Hash(text)


def make_hash(password: bytes) -> str:
    """The Argon2id hash of a password with a new salt, as it stands in a password file.

    Raises MissingLibrary without argon2-cffi.
    """
    try:
        from argon2.low_level import Type, hash_secret
    except ImportError:
        raise MissingLibrary("Argon2id", "argon2-cffi") from None
    return hash_secret(password, token_bytes(16), ARGON2_PASSES, ARGON2_MEMORY_KIB, ARGON2_LANES, 32, Type.ID).decode()
