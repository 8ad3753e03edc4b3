"""The contexts of TLS: certificates, keys, authorities and revocation lists, read from files at start and at reload.

A context has one certificate. Where a listener has several, each client gets the one whose names fit the server that it
asks for (SNI), and the first where none fits.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

from swellmq.errors import SettingsError
from swellmq.net.tls import Terms
from swellmq.tls_settings import TlsSettings

log = logging.getLogger("swellmq.tls")

DAY_S: Final = 86_400
EXPIRES_SOON_S: Final = 14 * DAY_S  # a certificate with less to live is warned about
NO_CHECK_TIME: Final = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME, which Python has no name for
MINIMUM: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def make_terms(tls: TlsSettings, protocol: str) -> Terms:
    """What the connections of a listener share. Raises SettingsError where a file is of no use."""
    return Terms(make_context(tls, protocol), tls.identity)


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
    _load_chain(context, certificate, key)
    for ca in tls.client_cas:
        _trust(context, ca)
    if tls.asked:
        context.verify_mode = ssl.CERT_REQUIRED if tls.required else ssl.CERT_OPTIONAL
    if tls.crl:
        remedy = "Give a file with revocation lists in PEM"
        _read("listener.crl", tls.crl, remedy, lambda: context.load_verify_locations(tls.crl))
        if not context.cert_store_stats()["crl"]:
            raise SettingsError("listener.crl", f"{tls.crl} has no revocation list", remedy)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    if not tls.dates:
        context.verify_flags |= NO_CHECK_TIME
    return context


def _load_chain(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load a certificate and its key. OpenSSL does not say which of the two files it is that it can't use."""
    for name, path in (("listener.certificate", certificate), ("listener.key", key)):
        _read(name, path, "", lambda path=path: open(path, "rb").close())  # type: ignore[misc]  # mypy infers no type for the default
    chain = "Give a certificate in PEM that is followed by its chain"
    _read("listener.certificate", certificate, chain, lambda: _decode(certificate))

    def no_password() -> str:
        raise SettingsError("listener.key", f"{key} has a password", "Take it off with `openssl pkey`")

    remedy = "Give the key in PEM that belongs to the certificate, without a password"
    _read("listener.key", key, remedy, lambda: context.load_cert_chain(certificate, key, no_password))


def _trust(context: ssl.SSLContext, authorities: str) -> None:
    """Trust what is signed by the authorities in a file or a folder."""
    is_folder = os.path.isdir(authorities)
    remedy = "Give a file with certificates in PEM, or a folder prepared by `openssl rehash`"
    file, folder = (None, authorities) if is_folder else (authorities, None)
    _read("listener.client_ca", authorities, remedy, lambda: context.load_verify_locations(file, folder))


def _read(key: str, path: str, remedy: str, read: Callable[[], object]) -> None:
    """Have a file read; a SettingsError that names it where that fails."""
    try:
        read()
    except ssl.SSLError as error:  # before OSError, of which it is a kind
        reason = getattr(error, "reason", None) or "not what it should be"  # there is none where the file is no PEM
        raise SettingsError(key, f"{path} is of no use: {reason}", remedy) from None
    except OSError as error:
        raise SettingsError(
            key, f"{path} can't be read: {error.strerror}", "Give the path of a readable file"
        ) from None


def _names(certificate: str) -> list[str]:
    """The servers that a certificate is for, in small letters; warns where it has ended or soon will."""
    decoded = _decode(certificate)
    left_s = ssl.cert_time_to_seconds(decoded["notAfter"]) - time.time()
    if left_s < EXPIRES_SOON_S:
        ends = "ended" if left_s < 0 else "ends"
        log.warning("the certificate %s %s on %s", certificate, ends, decoded["notAfter"])
    names = [value for what, value in decoded.get("subjectAltName", ()) if what == "DNS"]
    if not names:
        names = [value for relative in decoded["subject"] for what, value in relative if what == "commonName"]
    return [name.lower() for name in names]


def _decode(certificate: str) -> dict[str, Any]:
    """The first certificate of a file, as `ssl` shows them.

    Python has no public way to read one but by a handshake; its own tests and many programs use this one.
    """
    decoded: dict[str, Any] = ssl._ssl._test_decode_cert(certificate)  # type: ignore[attr-defined]
    return decoded
