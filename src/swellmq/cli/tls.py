"""TLS of `swellmq pub` and `swellmq sub`: a socket that waits as a plain one does."""

from __future__ import annotations

import argparse
import ssl
from typing import Any

from swellmq.cli.client import UsageError, os_error_text


class TlsSocket(ssl.SSLSocket):
    """Raises BlockingIOError where TLS has to wait, and leaves nothing decrypted behind, which select would not see."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            data = super().recv(buflen, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        while left := self.pending():
            data += super().recv(left)
        return data

    def send(self, data: Any, flags: int = 0) -> int:
        try:
            return super().send(data, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None


def make_context(arguments: argparse.Namespace) -> ssl.SSLContext:
    """What the arguments say about TLS; raises UsageError where a file is of no use."""
    file = arguments.cafile
    try:
        context = ssl.create_default_context(cafile=file)
        if arguments.cert:
            file = arguments.cert if not arguments.key else f"{arguments.cert} with {arguments.key}"
            context.load_cert_chain(arguments.cert, arguments.key)
    except OSError as error:  # also ssl.SSLError
        raise UsageError(f"{file}: {os_error_text(error)}. Give a readable file in PEM") from None
    context.sslsocket_class = TlsSocket
    context.set_alpn_protocols(["mqtt"])
    if arguments.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
