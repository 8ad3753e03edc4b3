"""What a listener of a mosquitto.conf says about TLS and proxies."""

from __future__ import annotations

from typing import Final

from swellmq.mosquitto.lines import Place
from swellmq.tls_settings import ProxySettings, TlsSettings

# Whoever writes one of these without TLS believes that clients are known by their certificates.
ABOUT_CLIENTS: Final = ("require_certificate", "use_identity_as_username", "use_subject_as_username", "crlfile")
ABOUT_TLS: Final = (*ABOUT_CLIENTS, "cafile", "capath", "tls_version", "ciphers", "disable_client_cert_date_checks")
ANYWHERE: Final = ("0.0.0.0/0", "::/0")  # mosquitto takes a PROXY header from whoever connects


def tls_of(place: Place, warnings: list[str]) -> TlsSettings | None:
    """The TLS of a listener; None where it has none."""
    if "enable_proxy_protocol" in place.values:
        return None
    certificate, key = str(place.value("certfile", "")), str(place.value("keyfile", ""))
    if not certificate or not key:
        for given, missing in (("certfile", "keyfile"), ("keyfile", "certfile")):
            if given in place.values:
                raise place.error(given, f"without {missing}, so that there is no TLS", f"Add {missing} PATH")
        for name in ABOUT_TLS:
            if name in ABOUT_CLIENTS and place.value(name, False):
                raise place.error(name, "without certfile and keyfile there is no TLS", "Add both, or leave it out")
            if name in place.values:
                warnings.append(f"{place.values[name][1].where}: {name} has no effect: there is no certfile")
        return None
    if place.value("tls_version", "") == "tlsv1.1":
        warnings.append(f"{place.values['tls_version'][1].where}: TLS 1.2 is the oldest version there is here")
    minimum = "1.3" if place.value("tls_version", "") == "tlsv1.3" else "1.2"
    ciphers = str(place.value("ciphers", ""))
    authorities = [str(place.value(name, "")) for name in ("cafile", "capath") if name in place.values]
    if not place.value("require_certificate", False):
        _insist(place, "without require_certificate nobody has a certificate")
        return TlsSettings([certificate], [key], authorities, minimum=minimum, ciphers=ciphers, asked=False)
    if not authorities:
        problem = "without cafile and capath no certificate is good"
        raise place.error("require_certificate", problem, "Add cafile PATH")
    return TlsSettings(
        [certificate],
        [key],
        authorities,
        crl=str(place.value("crlfile", "")),
        identity=_identity(place),
        minimum=minimum,
        ciphers=ciphers,
        dates=not place.value("disable_client_cert_date_checks", False),
    )


def proxies_of(place: Place, warnings: list[str]) -> ProxySettings | None:
    """The proxies in front of a listener; None where there are none."""
    version = place.value("enable_proxy_protocol", 0)
    wants_tls = bool(place.value("proxy_protocol_v2_require_tls", False))
    if not version:
        if wants_tls:
            remedy = "Add enable_proxy_protocol 2, or leave it out"
            raise place.error("proxy_protocol_v2_require_tls", "without the PROXY protocol", remedy)
        return None
    for name in ("certfile", "keyfile", "use_subject_as_username"):
        if place.value(name, False):
            raise place.error(name, "beside the PROXY protocol", "Leave it out: TLS ends at the proxy")
    certified = bool(place.value("require_certificate", False))
    if version == 1 and (wants_tls or certified):
        name = "proxy_protocol_v2_require_tls" if wants_tls else "require_certificate"
        raise place.error(name, "version 1 of the PROXY protocol tells nothing of TLS", "Use enable_proxy_protocol 2")
    if not certified:
        _insist(place, "without require_certificate a PROXY header need not name anybody")
    warnings.append(
        f"{place.values['enable_proxy_protocol'][1].where}: whoever reaches this listener may take any address; "
        "TOML has proxy = [ADDRESSES] for that (`swellmq check FILE --to-toml`)"
    )
    tls = "certificate" if certified else "required" if wants_tls else ""
    return ProxySettings(ANYWHERE, tls, bool(_identity(place)))


def _insist(place: Place, problem: str) -> None:
    """A user name out of a certificate needs one."""
    for name in ("use_identity_as_username", "use_subject_as_username"):
        if place.value(name, False):
            raise place.error(name, problem, "Add require_certificate true, or leave it out")


def _identity(place: Place) -> str:
    if place.value("use_identity_as_username", False):
        return "cn"
    return "subject" if place.value("use_subject_as_username", False) else ""
