"""The files of the page: whatever lies in the folder `page`, each under its own name, and index.html at `/` as well."""

from __future__ import annotations

import gzip
import os
import zlib
from typing import Final

from swellmq.admin.answer import GZIP_FROM_BYTES, Response, accepts_gzip

FOLDER: Final = os.path.join(os.path.dirname(__file__), "page")
FIRST: Final = "index.html"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
PACKED: Final = (".css", ".html", ".js", ".json", ".svg")
# Nothing from elsewhere, no script in the page itself, and no other site may show it in a frame.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class File:
    """One file as it was read: plain, packed where that gains something, and the tag that tells one state of it."""

    def __init__(self, name: str) -> None:
        path = os.path.join(FOLDER, name)
        self.modified_ns = os.stat(path).st_mtime_ns
        with open(path, "rb") as file:
            self.body = file.read()
        ending = os.path.splitext(name)[1]
        self.content_type = TYPES[ending]
        packed = ending in PACKED and len(self.body) >= GZIP_FROM_BYTES
        self.packed = gzip.compress(self.body, mtime=0) if packed else b""
        self.tag = f'"{zlib.crc32(self.body):08x}-{len(self.body):x}"'


class Files:
    """Reads each file when it is first asked for, and again once it has changed."""

    def __init__(self) -> None:
        self.read: dict[str, File] = {}

    def find(self, path: str, headers: dict[str, str]) -> Response | None:
        """The file at a path of the URL; None where there is none."""
        name = path.removeprefix("/") or FIRST
        if os.path.splitext(name)[1] not in TYPES or name != os.path.basename(name):
            return None
        try:
            file = self.read.get(name)
            if file is None or os.stat(os.path.join(FOLDER, name)).st_mtime_ns != file.modified_ns:
                file = self.read[name] = File(name)
        except OSError:
            return None
        about = [("ETag", file.tag), ("Cache-Control", "no-cache"), ("Vary", "Accept-Encoding")]
        if name.endswith(".html"):
            about += [("Content-Security-Policy", POLICY), ("X-Frame-Options", "DENY")]
        if file.tag in headers.get("if-none-match", ""):
            return Response(304, headers=about)
        if file.packed and accepts_gzip(headers):
            return Response(200, file.packed, file.content_type, [*about, ("Content-Encoding", "gzip")])
        return Response(200, file.body, file.content_type, about)
