"""What a listener says about TLS, proxies and pages, checked. Nothing here opens a file or imports ssl."""

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
NOT_ASKED: Final = "none"


class TlsSettings:
    """TLS of one listener. `keys` has a file for each of `certificates`, the same where both are in one.

    Client certificates are asked for where there are `client_cas` and they are `asked`, and insisted upon where
    `required`; not asked for, the authorities complete our own chain at most. `dates` says whether client certificates
    must be of today, `identity` what of them is the user name: "cn", "subject", "san", or "" for none of it.
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
        asked: bool = True,
    ) -> None:
        self.certificates = certificates
        self.keys = keys or certificates
        self.client_cas = list(client_cas)
        self.asked = asked and bool(client_cas)
        self.required = required and self.asked
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
            if name == "listener.identity" and (values["listener.proxy_tls"] or values[name] == "user"):
                continue
            problem = "given without a certificate: TLS needs one"
            raise bad_value(name, values[name], problem, "Add certificate = FILE, or leave it out", wheres[name])
        return None
    if keys and len(keys) != len(certificates):
        problem = f"{len(keys)} keys for {len(certificates)} certificates"
        remedy = "Give one for each, in the same order, or none where each file has both"
        raise bad_value("listener.key", keys, problem, remedy, wheres["listener.key"])
    required = texts["client_certificate"] == REQUIRED
    asked = texts["client_certificate"] != NOT_ASKED
    for name in ("client_certificate", "client_certificate_dates", "crl", "identity"):
        key = "listener." + name
        if key in wheres and (not client_cas or (not asked and name != "client_certificate")):
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
        asked,
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
    _check_networks("listener.proxy", proxies, wheres)
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


def origins_of(values: dict[str, Value], wheres: dict[str, str]) -> list[str]:
    """The pages that may use a `[[listener]]` for WebSocket. Raises SettingsError where one is no origin."""
    origins = values["listener.origins"]
    assert isinstance(origins, list)
    _check_websocket("listener.origins", values, wheres)
    for origin in origins:
        scheme, separator, host = origin.partition("://")
        if origin not in ("*", "null") and (not (scheme and separator and host) or set(host) & set("/?# @")):
            remedy = "Give what a browser sends, such as https://app.example.com or http://localhost:8080, or *"
            raise bad_value("listener.origins", origin, "not an origin", remedy, wheres["listener.origins"])
    return origins


def forwarders_of(values: dict[str, Value], wheres: dict[str, str]) -> list[str]:
    """The networks of the HTTP proxies in front of a `[[listener]]`. Raises SettingsError where one is none."""
    networks = values["listener.forwarded_by"]
    assert isinstance(networks, list)
    _check_websocket("listener.forwarded_by", values, wheres)
    if networks and values["listener.proxy"]:
        problem = "given beside proxy: a proxy says it in one way or the other"
        raise bad_value("listener.forwarded_by", networks, problem, "Leave one out", wheres["listener.forwarded_by"])
    _check_networks("listener.forwarded_by", networks, wheres)
    return networks


def _check_websocket(name: str, values: dict[str, Value], wheres: dict[str, str]) -> None:
    if name in wheres and values["listener.protocol"] != "websocket":
        problem = "given without WebSocket: only that begins with HTTP"
        raise bad_value(name, values[name], problem, 'Add protocol = "websocket", or leave it out', wheres[name])


def _check_networks(name: str, networks: list[str], wheres: dict[str, str]) -> None:
    for network in networks:
        try:
            parse_network(network)
        except (OSError, ValueError):
            remedy = "Give an address such as 10.0.0.7, or a network such as 10.0.0.0/8 or fd00::/8"
            raise bad_value(name, network, "not a network", remedy, wheres[name]) from None
