"""The contexts of TLS: certificates, keys, authorities and revocation lists, read from files at start and at reload.

A context has one certificate. Where a listener has several, each client gets the one whose names fit the server that it
asks for (SNI), and the first where none fits.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from swellmq.connection import Layer
from swellmq.errors import SettingsError
from swellmq.net.listener import Listener
from swellmq.net.proxy import ProxyLayer
from swellmq.net.tls import Terms, TlsLayer
from swellmq.settings import ListenerSettings, Settings
from swellmq.tls_settings import TlsSettings

log = logging.getLogger("swellmq.tls")

DAY_S: Final = 86_400
EXPIRES_SOON_S: Final = 14 * DAY_S  # a certificate with less to live is warned about
MINIMUM: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def make_layer(wanted: ListenerSettings, above: Layer | None) -> Layer:
    """What the connections of a listener each get a fresh one of. Raises SettingsError where a file is of no use."""
    assert wanted.tls is not None
    return TlsLayer(Terms(make_context(wanted.tls, wanted.protocol), wanted.tls.identity), above)


def prepare_reload(listeners: Sequence[Listener], old: Settings, new: Settings) -> Callable[[], list[str]]:
    """Read all certificates again, see reload.py: connections that come later go by them, who is connected stays.

    Where the listeners themselves have changed, what they had before is read: they take a restart.
    """
    same = [str(one) for one in old.listeners] == [str(one) for one in new.listeners]
    layers: list[tuple[Listener, Layer]] = []
    for listener, wanted in zip(listeners, (new if same else old).listeners, strict=True):
        layer = listener.layer
        if isinstance(layer, TlsLayer):
            layers.append((listener, make_layer(wanted, layer.above)))
        elif isinstance(layer, ProxyLayer) and isinstance(layer.above, TlsLayer):
            layers.append((listener, ProxyLayer(make_layer(wanted, layer.above.above))))

    def apply() -> list[str]:
        for listener, layer in layers:
            listener.layer = layer
        return [f"certificates read again: {', '.join(listener.name for listener, _ in layers)}"]

    return apply


def make_context(tls: TlsSettings, protocol: str) -> ssl.SSLContext:
    """The context of a listener, which hands over to another where a client names another server."""
    contexts: list[ssl.SSLContext] = []
    by_name: dict[str, ssl.SSLContext] = {}
    for certificate, key in zip(tls.certificates, tls.keys, strict=True):
        context = _context_of(tls, protocol, certificate, key)
        contexts.append(context)
        for name in _names(certificate):
            by_name.setdefault(name, context)
    if len(contexts) > 1:

        def choose(tls_object: ssl.SSLObject, server_name: str | None, _context: ssl.SSLContext) -> None:
            found = find(by_name, server_name) if server_name else None
            if found is not None:
                tls_object.context = found

        contexts[0].sni_callback = choose
    return contexts[0]


def find(by_name: dict[str, ssl.SSLContext], server_name: str) -> ssl.SSLContext | None:
    """The context for a server's name: its own, or that of the wildcard above it, RFC 6125 section 6.4.3."""
    name = server_name.lower().removesuffix(".")
    return by_name.get(name) or by_name.get("*." + name.partition(".")[2])


def _context_of(tls: TlsSettings, protocol: str, certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = MINIMUM[tls.minimum]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"] if protocol == "websocket" else ["mqtt"])
    if tls.ciphers:
        try:
            context.set_ciphers(tls.ciphers)
        except ssl.SSLError:
            problem = f"OpenSSL knows none of {tls.ciphers}"
            raise SettingsError("listener.ciphers", problem, "`openssl ciphers -v` lists what there is") from None
    remedy = (
        "Give a certificate in PEM that is followed by its chain, and the key that belongs to it, without a password"
    )

    def no_password() -> str:
        raise SettingsError("listener.key", f"{key} has a password", "Take it off with `openssl pkey`")

    _read("listener.certificate", certificate, remedy, lambda: context.load_cert_chain(certificate, key, no_password))
    if tls.client_ca:
        ca, is_folder = tls.client_ca, os.path.isdir(tls.client_ca)
        remedy = "Give a file with certificates in PEM, or a folder prepared by `openssl rehash`"
        _read(
            "listener.client_ca",
            ca,
            remedy,
            lambda: context.load_verify_locations(None if is_folder else ca, ca if is_folder else None),
        )
        context.verify_mode = ssl.CERT_REQUIRED if tls.required else ssl.CERT_OPTIONAL
    if tls.crl:
        remedy = "Give a file with revocation lists in PEM"
        _read("listener.crl", tls.crl, remedy, lambda: context.load_verify_locations(tls.crl))
        if not context.cert_store_stats()["crl"]:
            raise SettingsError("listener.crl", f"{tls.crl} has no revocation list", remedy)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def _read(key: str, path: str, remedy: str, read: Callable[[], None]) -> None:
    """Have a file read; a SettingsError that names it where that fails."""
    try:
        read()
    except ssl.SSLError as error:  # before OSError, of which it is a kind
        raise SettingsError(key, f"{path} is of no use: {error.reason or error}", remedy) from None
    except OSError as error:
        raise SettingsError(
            key, f"{path} can't be read: {error.strerror}", "Give the path of a readable file"
        ) from None


def _names(certificate: str) -> list[str]:
    """The servers that a certificate is for, in small letters; warns where it has ended or soon will."""
    # Python has no public way to read a certificate but by a handshake; its own tests and many programs use this one.
    decoded: dict[str, Any] = ssl._ssl._test_decode_cert(certificate)  # type: ignore[attr-defined]
    left_s = ssl.cert_time_to_seconds(decoded["notAfter"]) - time.time()
    if left_s < EXPIRES_SOON_S:
        ends = "ended" if left_s < 0 else "ends"
        log.warning("the certificate %s %s on %s", certificate, ends, decoded["notAfter"])
    names = [value for what, value in decoded.get("subjectAltName", ()) if what == "DNS"]
    if not names:
        names = [value for relative in decoded["subject"] for what, value in relative if what == "commonName"]
    return [name.lower() for name in names]
