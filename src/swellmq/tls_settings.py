"""What a listener says about TLS and proxies, checked. Nothing here opens a file or imports ssl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from swellmq.net.listener import parse_network
from swellmq.options import Value, bad_value

NAMES: Final = (
    "certificate",
    "key",
    "client_ca",
    "client_certificate",
    "client_certificate_dates",
    "crl",
    "identity",
    "tls_minimum",
    "ciphers",
)
REQUIRED: Final = "required"


class TlsSettings:
    """TLS of one listener. `keys` has a file for each of `certificates`, the same where both are in one.

    Client certificates are asked for where there are `client_cas`, and insisted upon where `required`; `dates` says
    whether they must be of today. `identity` says what of them is the user name: "cn", "subject", "san", or "" for none
    of it.
    """

    def __init__(
        self,
        certificates: list[str],
        keys: list[str] | None = None,
        client_cas: Sequence[str] = (),
        required: bool = True,
        crl: str = "",
        identity: str = "",
        minimum: str = "1.2",
        ciphers: str = "",
        dates: bool = True,
    ) -> None:
        self.certificates = certificates
        self.keys = keys or certificates
        self.client_cas = list(client_cas)
        self.required = required and bool(client_cas)
        self.crl = crl
        self.identity = identity
        self.minimum = minimum
        self.ciphers = ciphers
        self.dates = dates


def tls_of(values: dict[str, Value], wheres: dict[str, str]) -> TlsSettings | None:
    """The TLS of one `[[listener]]`; None where it has none. Raises SettingsError where its settings contradict."""
    given = ["listener." + name for name in NAMES if "listener." + name in wheres]
    certificates, keys = values["listener.certificate"], values["listener.key"]
    client_cas = values["listener.client_ca"]
    assert isinstance(certificates, list) and isinstance(keys, list) and isinstance(client_cas, list)
    texts = {name: str(values["listener." + name]) for name in NAMES}
    if not certificates:
        for name in given:
            if name == "listener.identity" and values["listener.proxy_tls"]:
                continue
            problem = "given without a certificate: TLS needs one"
            raise bad_value(name, values[name], problem, "Add certificate = FILE, or leave it out", wheres[name])
        return None
    if keys and len(keys) != len(certificates):
        problem = f"{len(keys)} keys for {len(certificates)} certificates"
        remedy = "Give one for each, in the same order, or none where each file has both"
        raise bad_value("listener.key", keys, problem, remedy, wheres["listener.key"])
    required = texts["client_certificate"] == REQUIRED
    for name in ("client_certificate", "client_certificate_dates", "crl", "identity"):
        key = "listener." + name
        if key in wheres and not client_cas:
            problem = "given without client_ca: client certificates are not asked for"
            raise bad_value(key, values[key], problem, "Add client_ca = FILE, or leave it out", wheres[key])
    return TlsSettings(
        certificates,
        keys,
        client_cas,
        required,
        texts["crl"],
        texts["identity"],
        texts["tls_minimum"],
        texts["ciphers"],
        bool(values["listener.client_certificate_dates"]),
    )


class ProxySettings:
    """The proxies in front of one listener: their networks, and what each connection of theirs has to be.

    `tls` is "required" or "certificate" for what the proxy must say of its client, or "" where it need say nothing.
    `named` says that the common name in the client's certificate is its user name.
    """

    def __init__(self, networks: Sequence[str], tls: str = "", named: bool = False) -> None:
        self.networks = list(networks)
        self.tls = tls
        self.named = named


def proxies_of(values: dict[str, Value], wheres: dict[str, str]) -> ProxySettings | None:
    """The proxies in front of one `[[listener]]`. Raises SettingsError where its settings contradict."""
    proxies, tls, identity = values["listener.proxy"], str(values["listener.proxy_tls"]), values["listener.identity"]
    assert isinstance(proxies, list)
    for proxy in proxies:
        try:
            parse_network(proxy)
        except (OSError, ValueError):
            remedy = "Give an address such as 10.0.0.7, or a network such as 10.0.0.0/8 or fd00::/8"
            raise bad_value("listener.proxy", proxy, "not a network", remedy, wheres["listener.proxy"]) from None
    if not tls:
        return ProxySettings(proxies) if proxies else None
    where = wheres["listener.proxy_tls"]
    if not proxies:
        raise bad_value("listener.proxy_tls", tls, "given without proxy", "Add proxy = NETWORKS", where)
    if values["listener.certificate"]:
        problem = "given beside certificate: TLS ends at the proxy, or here"
        raise bad_value("listener.proxy_tls", tls, problem, "Leave one of them out", where)
    if identity and (identity != "cn" or tls != "certificate"):
        problem = "a proxy tells nothing but the common name, and that only of a certificate"
        remedy = 'Write identity = "cn" and proxy_tls = "certificate"'
        raise bad_value("listener.identity", identity, problem, remedy, wheres["listener.identity"])
    return ProxySettings(proxies, tls, bool(identity))
