"""What a listener says about TLS and proxies, checked. Nothing here opens a file or imports ssl."""

from __future__ import annotations

from typing import Final

from swellmq.net.listener import parse_network
from swellmq.options import Value, bad_value

NAMES: Final = ("certificate", "key", "client_ca", "client_certificate", "crl", "identity", "tls_minimum", "ciphers")
REQUIRED: Final = "required"


class TlsSettings:
    """TLS of one listener. `keys` has a file for each of `certificates`, the same where both are in one.

    Client certificates are asked for where `client_ca` is given, and insisted upon where `required`. `identity` says
    what of them is the user name: "cn", "subject", "san", or "" for none of it.
    """

    def __init__(
        self,
        certificates: list[str],
        keys: list[str] | None = None,
        client_ca: str = "",
        required: bool = True,
        crl: str = "",
        identity: str = "",
        minimum: str = "1.2",
        ciphers: str = "",
    ) -> None:
        self.certificates = certificates
        self.keys = keys or certificates
        self.client_ca = client_ca
        self.required = required and bool(client_ca)
        self.crl = crl
        self.identity = identity
        self.minimum = minimum
        self.ciphers = ciphers


def tls_of(values: dict[str, Value], wheres: dict[str, str]) -> TlsSettings | None:
    """The TLS of one `[[listener]]`; None where it has none. Raises SettingsError where its settings contradict."""
    given = ["listener." + name for name in NAMES if "listener." + name in wheres]
    certificates, keys = values["listener.certificate"], values["listener.key"]
    assert isinstance(certificates, list) and isinstance(keys, list)
    texts = {name: str(values["listener." + name]) for name in NAMES}
    if not certificates:
        for name in given:
            problem = "given without a certificate: TLS needs one"
            raise bad_value(name, values[name], problem, "Add certificate = FILE, or leave it out", wheres[name])
        return None
    if keys and len(keys) != len(certificates):
        problem = f"{len(keys)} keys for {len(certificates)} certificates"
        remedy = "Give one for each, in the same order, or none where each file has both"
        raise bad_value("listener.key", keys, problem, remedy, wheres["listener.key"])
    required = texts["client_certificate"] == REQUIRED
    for name in ("client_certificate", "crl", "identity"):
        key = "listener." + name
        if key in wheres and not texts["client_ca"]:
            problem = "given without client_ca: client certificates are not asked for"
            raise bad_value(key, texts[name], problem, "Add client_ca = FILE, or leave it out", wheres[key])
    return TlsSettings(
        certificates,
        keys,
        texts["client_ca"],
        required,
        texts["crl"],
        texts["identity"],
        texts["tls_minimum"],
        texts["ciphers"],
    )


def proxies_of(values: dict[str, Value], wheres: dict[str, str]) -> list[str]:
    """The networks of the proxies in front of one `[[listener]]`. Raises SettingsError where one is none."""
    proxies = values["listener.proxy"]
    assert isinstance(proxies, list)
    for proxy in proxies:
        try:
            parse_network(proxy)
        except (OSError, ValueError):
            remedy = "Give an address such as 10.0.0.7, or a network such as 10.0.0.0/8 or fd00::/8"
            raise bad_value("listener.proxy", proxy, "not a network", remedy, wheres["listener.proxy"]) from None
    return proxies
