"""What the settings say about admin, checked. Nothing here listens or imports the libraries that admin needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swellmq.errors import SettingsError
from swellmq.listener_settings import is_loopback, numeric
from swellmq.net.listener import address_number
from swellmq.options import bad_value
from swellmq.tls_settings import TlsSettings

if TYPE_CHECKING:
    from swellmq.connection import Layer
    from swellmq.settings import Settings

BESIDE: Final = ("admin_token", "admin_token_file", "admin_read_token_file", "admin_certificate", "admin_key")
TOKEN_LENGTH_MIN: Final = 16  # who guesses has ten tries a minute, but a short one stands in a list of words


def check_admin(settings: Settings) -> None:
    """Raise SettingsError where what is set about admin can't be honoured."""
    if not settings.admin:
        given = [name for name in BESIDE if getattr(settings, name)]
        settings.notes.append(f"{', '.join(given)} has no effect without admin")
        return
    addresses, _port = parse_place(settings.admin, settings.where("admin"))
    if settings.admin_token and settings.admin_token_file:
        problem = "given beside admin_token_file"
        raise SettingsError("admin_token", problem, "Leave one of them out", settings.where("admin_token"))
    if settings.admin_token and len(settings.admin_token) < TOKEN_LENGTH_MIN:
        problem = f"shorter than {TOKEN_LENGTH_MIN} characters"
        remedy = "`openssl rand -hex 16` makes a good one"
        raise SettingsError("admin_token", problem, remedy, settings.where("admin_token"))
    if settings.admin_read_token_file and not (settings.admin_token or settings.admin_token_file):
        path, where = settings.admin_read_token_file, settings.where("admin_read_token_file")
        problem = "given without a secret that may do everything"
        raise bad_value("admin_read_token_file", path, problem, "Add admin_token_file = FILE", where)
    if settings.admin_key and not settings.admin_certificate:
        remedy = "Add admin_certificate, or leave it out"
        raise bad_value(
            "admin_key", settings.admin_key, "given without a certificate", remedy, settings.where("admin_key")
        )
    is_local = all(is_loopback(address) for address in addresses)
    if is_local or settings.admin_token or settings.admin_token_file:
        if not is_local and not settings.admin_certificate:
            settings.warnings.append(
                f"admin on {settings.admin} has no TLS: whoever listens in on the way learns its token "
                "(admin_certificate, or a proxy in front)"
            )
        return
    problem = "other machines could reach it, and nothing says who may"
    remedy = "Add admin_token_file = FILE with a secret in it, or listen on 127.0.0.1"
    raise bad_value("admin", settings.admin, problem, remedy, settings.where("admin"))


def parse_place(text: str, where: str = "") -> tuple[list[str], int]:
    """The numeric addresses and the port in "127.0.0.1:18083", "[::1]:18083" or "localhost:18083"."""
    host, colon, port = text.rpartition(":")
    if colon and port.isascii() and port.isdecimal() and int(port) <= 65_535:
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if (":" in bare) == (bare != host):  # an IPv6 address, and no other, stands in brackets
            addresses = numeric([bare])
            try:
                for address in addresses:
                    address_number(address.partition("%")[0])
            except OSError:
                pass
            else:
                return addresses, int(port)
    remedy = "Give an address and a port, such as 127.0.0.1:18083, [::1]:18083 or localhost:18083"
    raise bad_value("admin", text, "not an address and a port", remedy, where)


def read_tokens(settings: Settings) -> tuple[bytes, bytes]:
    """The secret, and the one for reading only; b"" where there is none. Raises SettingsError where a file is of no
    use."""
    token = _first_line(settings, "admin_token_file") if settings.admin_token_file else settings.admin_token.encode()
    read_token = _first_line(settings, "admin_read_token_file") if settings.admin_read_token_file else b""
    if token and token == read_token:
        problem = "the same secret as that which may do everything"
        where = settings.where("admin_read_token_file")
        raise SettingsError("admin_read_token_file", problem, "Make another one", where)
    return token, read_token


def _first_line(settings: Settings, name: str) -> bytes:
    path: str = getattr(settings, name)
    where = settings.where(name)
    remedy = "Give a readable file whose first line is the secret; `openssl rand -hex 16` makes a good one"
    try:
        with open(path, encoding="utf-8") as file:
            token = file.readline().strip()
    except (OSError, UnicodeDecodeError) as error:
        problem = f"can't be read: {error.strerror}" if isinstance(error, OSError) else "not text in UTF-8"
        raise bad_value(name, path, problem, remedy, where) from None
    if len(token) < TOKEN_LENGTH_MIN:
        problem = f"its first line is shorter than {TOKEN_LENGTH_MIN} characters"
        raise bad_value(name, path, problem, remedy, where)
    return token.encode()


def make_layer(settings: Settings) -> Layer:
    """TLS for the connections of admin. Raises SettingsError where a file is of no use."""
    from swellmq.net.tls import TlsLayer  # ssl: 3.6 MB
    from swellmq.net.tls_context import make_terms

    key = [settings.admin_key] if settings.admin_key else None
    try:
        return TlsLayer(make_terms(TlsSettings([settings.admin_certificate], key), "websocket"), None)
    except SettingsError as error:
        name = error.key.replace("listener.", "admin_")
        raise SettingsError(name, error.problem, error.remedy, settings.where(name)) from None
