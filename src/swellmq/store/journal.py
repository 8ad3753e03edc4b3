"""The journal: files to which frames are appended, each frame the changes of one commit, on disk before it counts.

A frame is a head and a body. The head has a mark, the body's length, a checksum of all that follows it, the frame's
number, the number up to which all was known to be on disk when it was written, and two clocks: the store's, which never
jumps, and the wall's. Numbers go up by one. A file is named after its first frame and is closed after some
`SEGMENT_BYTES`; closed files are folded into the database and deleted.

A frame is on disk before the next is written, as far as durability is "disk". So what a crash can leave behind is one
torn frame at the end: reading stops there. A bad frame in front of frames that knew it to be on disk is damage, and is
told as such. After a failed write or fdatasync nothing is known of the file's end any more: the same frames go to a
new file, under the same numbers, so that a frame that is found twice counts once.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import Final, final

from mypy_extensions import i64, mypyc_attr

from swellmq.store.errors import StoreError

FRAME_BYTES_MAX: Final = 1 << 30  # a length beyond it is damage
MARK: Final = b"SwMQ"
_HEAD: Final = struct.Struct("<4sIIQQqq")
HEAD_BYTES: Final = 44
PREFIX: Final = "journal-"
NUMBER_DIGITS: Final = 20  # behind it
_CHECKED_FROM: Final = 12  # the checksum covers the head from here on


@final
@mypyc_attr(native_class=True)
class Frame:
    """One commit: `body` is records. `clock_ms` is the store's clock, `wall_ms` the wall's."""

    def __init__(self, number: int, clock_ms: int, wall_ms: int, body: bytes) -> None:
        self.number = number
        self.clock_ms = clock_ms
        self.wall_ms = wall_ms
        self.body = body


def encode_frame(number: i64, on_disk: i64, clock_ms: i64, wall_ms: i64, body: bytes) -> bytes:
    """The bytes of a frame; `on_disk` is the last number that is known to be there."""
    rest = _HEAD.pack(MARK, 0, 0, number, on_disk, clock_ms, wall_ms)[_CHECKED_FROM:]
    checksum = zlib.crc32(body, zlib.crc32(rest))
    return struct.pack("<4sII", MARK, len(body), checksum) + rest + body


@final
@mypyc_attr(native_class=True)
class JournalWriter:
    """Appends frames. All methods raise OSError where the system does, and are called from one thread."""

    def __init__(self, folder: str, next_number: i64) -> None:
        self.folder = folder
        self.next_number: i64 = next_number
        self.on_disk: i64 = next_number - 1
        self.fd: int = -1
        self.path: str = ""
        self.bytes: i64 = 0  # in the open file

    def append(self, frame: bytes, number: i64) -> None:
        """Hand a frame to the system; `sync` puts it on disk."""
        if self.fd < 0:
            self._open(number)
        view = frame
        while view:
            written = os.write(self.fd, view)
            self.bytes += written
            if written == len(view):
                break
            view = view[written:]
        self.next_number = number + 1

    def sync(self) -> None:
        """Put all that was appended on disk."""
        if self.fd >= 0:
            os.fdatasync(self.fd)
        self.on_disk = self.next_number - 1

    def _open(self, number: i64) -> None:
        path = os.path.join(self.folder, PREFIX + str(int(number)).zfill(NUMBER_DIGITS))
        # A file of this name holds nothing that counts: its first frame failed, or was torn.
        self.fd = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.path = path
        self.bytes = 0
        sync_folder(self.folder)

    def close(self) -> None:
        """Close the open file, if there is one; the next frame opens another."""
        fd = self.fd
        self.fd = -1
        self.bytes = 0
        if fd >= 0:
            os.close(fd)

    def abandon(self, first_bad: i64) -> None:
        """A write or a sync has failed: the frames from `first_bad` on are to be written anew, to another file."""
        self.next_number = first_bad
        try:
            self.close()
        except OSError:
            pass  # what it could tell is known


def open_private(path: str, flags: int) -> int:
    """Open a file that is for our user alone, if this makes it: it holds what others may not read. Raises OSError."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def sync_folder(folder: str) -> None:
    """Put the names of a folder's files on disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def segments(folder: str) -> list[str]:
    """The paths of all files of the journal, the oldest first; a copy that somebody made of one is none."""
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if is_segment(name)]


def is_segment(name: str) -> bool:
    """Whether a file of the journal is called so."""
    return name.startswith(PREFIX) and len(name) == len(PREFIX) + NUMBER_DIGITS and name[len(PREFIX) :].isdecimal()


def first_number(path: str) -> int:
    """The number of the first frame of a file, as its name says."""
    return int(os.path.basename(path).removeprefix(PREFIX))


def read_segment(path: str, after: int) -> Iterator[Frame]:
    """The frames of one file whose numbers are above `after`, read one by one.

    Raises StoreError where a frame is damaged that was on disk once, or is missing.
    """
    expected = first_number(path)
    with open(path, "rb") as file:
        while head := file.read(HEAD_BYTES):
            data = head
            if len(head) == HEAD_BYTES:
                data += file.read(_HEAD.unpack(head)[1])
            frame, _ = _read_frame(data, 0)
            if frame is None:
                data += file.read()
                _check_tail(path, data, file.tell() - len(data), expected)
                return
            if frame.number != expected:
                raise StoreError(f"{path}: frame {frame.number} where {expected} should be. {REMEDY}")
            if frame.number > after:
                yield frame
            expected += 1


REMEDY: Final = "Restore a backup, or see what is left with `swellmq data check`"


def _read_frame(data: bytes, pos: int) -> tuple[Frame | None, int]:
    """The frame at `pos` and the position behind it; None where there is no whole one."""
    if len(data) - pos < HEAD_BYTES or data[pos : pos + 4] != MARK:
        return None, pos
    _mark, length, checksum, number, _on_disk, clock_ms, wall_ms = _HEAD.unpack_from(data, pos)
    end = pos + HEAD_BYTES + length
    if length > FRAME_BYTES_MAX or end > len(data):
        return None, pos
    body = data[pos + HEAD_BYTES : end]
    if zlib.crc32(body, zlib.crc32(data[pos + _CHECKED_FROM : pos + HEAD_BYTES])) != checksum:
        return None, pos
    return Frame(number, clock_ms, wall_ms, body), end


def _check_tail(path: str, data: bytes, begin: int, expected: int) -> None:
    """What begins at the byte `begin` of a file is no frame: that is a torn end, or a broker is just writing it, unless
    a good one behind it knew it to be on disk."""
    if _read_frame(data, 0)[0] is not None:
        return  # it has become one meanwhile
    start = 0
    while (start := data.find(MARK, start + 1)) > 0:
        frame, _ = _read_frame(data, start)
        if frame is not None and _HEAD.unpack_from(data, start)[4] >= expected:
            raise StoreError(
                f"{path}: damaged at byte {begin}: frame {expected} is unreadable, although it was on disk once and"
                f" frame {frame.number} follows. {REMEDY}"
            )
