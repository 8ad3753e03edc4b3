"""What holds for the clients of one listener, where listeners differ. Where none does, `Core.rules` is empty."""

from __future__ import annotations

from typing import final

from mypy_extensions import i64, mypyc_attr

from swellmq.codec.packets import Subscribe, Unsubscribe
from swellmq.codec.topic import SHARE_PREFIX, split_share


@final
@mypyc_attr(native_class=True)
class Rules:
    """Bounds that hold below those of `Limits`, and who its clients are."""

    def __init__(self) -> None:
        self.protocol_versions: bytes = b"\x03\x04\x05"
        self.maximum_qos: i64 = 2
        self.topic_alias_maximum: i64 = 65_535
        self.topic_aliases_out: i64 = 65_535
        self.client_id_prefix: str = ""  # "": as in Limits
        self.username_as_client_id: bool = False
        self.assign_client_ids: bool = True
        self.mount_point: bytes = b""  # in front of all topics, whole levels; net/mount.py does so for PUBLISH

    def mounted(self, topic_filter: bytes) -> bytes:
        """A topic filter, shared or not, below the mount point."""
        share_name, bare = split_share(topic_filter)
        if bare == b"#":
            bare = b"+/#"  # `a/#` is about `a` too, which is not below `a/`
        if share_name:
            return SHARE_PREFIX + share_name + b"/" + self.mount_point + bare
        return self.mount_point + bare

    def mount_filters(self, packet: Subscribe, first: int) -> None:
        """Put the filters of a SUBSCRIBE below the mount point, from the index `first` on."""
        if self.mount_point:
            for index in range(first, len(packet.requests)):
                request = packet.requests[index]
                request.topic_filter = self.mounted(request.topic_filter)

    def mount_names(self, packet: Unsubscribe, first: int) -> None:
        """Put the filters of an UNSUBSCRIBE below the mount point, from the index `first` on."""
        if self.mount_point:
            for index in range(first, len(packet.topic_filters)):
                packet.topic_filters[index] = self.mounted(packet.topic_filters[index])
