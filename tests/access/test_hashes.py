"""Each format of password hashes, ours and those of mosquitto, and what is none."""

from __future__ import annotations

import pytest

pytest.importorskip("argon2", reason="the extra `auth` is not installed")
pytest.importorskip("scramp", reason="the extra `auth` is not installed")

from swellmq.access.hashes import make_hash, parse_hash  # they need what may be missing
from swellmq.access.scram import METHODS, make_credential  # as above

# Written by mosquitto_passwd 2.0.11 for the password "secret".
MOSQUITTO_7 = (
    "$7$101$EY4U/9Wp7bqVnfJY$Obcdpy75ggazLg4NMz82ddxKkChZA4ymV6gx2E8YI2Wd8VBfbiBCi1j+eJX+zKfHtHsS+hKqB+vI1CaGEluXTw=="
)
MOSQUITTO_6 = (
    "$6$QXrOjjc3b4STan0c$8UzGLW7DZy4uUaS/C1Ymgw1JdIaPfBr/dK/AstLr3JPX9CdEapUFbbE6CCWlfmxcBH5Xx6xJ62IAZ0mdYNK/qQ=="
)
# From the test vectors of the reference implementation of Argon2 (phc-winner-argon2): password "password".
ARGON2ID = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"


@pytest.mark.parametrize(
    ("text", "password"),
    [
        (MOSQUITTO_7, b"secret"),
        (MOSQUITTO_6, b"secret"),
        (ARGON2ID, b"password"),
        (make_credential("secret", METHODS[0]).to_text(), b"secret"),
        (make_credential("secret", METHODS[1]).to_text(), b"secret"),
    ],
    ids=["$7$", "$6$", "argon2id", "SCRAM-SHA-256", "SCRAM-SHA-1"],
)
def test_a_password_fits_its_hash_alone(text: str, password: bytes) -> None:
    known = parse_hash(text)
    assert known.fits(password)
    assert not known.fits(password + b"x")
    assert not known.fits(b"")
    assert not known.fits(b"\xff")
    assert known.text == text


def test_what_we_write_fits_and_is_salted() -> None:
    text = make_hash(b"gr\xc3\xbc\xc3\x9fe")
    assert text.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert parse_hash(text).fits(b"gr\xc3\xbc\xc3\x9fe")
    assert make_hash(b"x") != make_hash(b"x")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("plain", "no hash of a password"),
        ("", "no hash of a password"),
        ("$5$abc$def", "no hash of a password"),
        ("$7$101$salt", "damaged"),
        ("$7$0$QUJD$QUJD", "not from 1 to"),
        ("$7$99999999999$QUJD$QUJD", "not from 1 to"),
        ("$7$x$QUJD$QUJD", "damaged"),
        ("$6$QUJD$not base64", "damaged"),
        ("$argon2id$v=19$m=1", "Argon2"),
        ("$argon2", "Argon2"),
        ("SCRAM-SHA-256$1:QUJD$QUJD:QUJD", "fewer than 4096"),
    ],
)
def test_what_is_no_hash(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_hash(text)
