"""What holds for the clients of one listener, where listeners differ. Where none does, `Core.rules` is empty."""

from __future__ import annotations

from typing import final

from mypy_extensions import i64, mypyc_attr


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
