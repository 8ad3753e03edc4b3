"""mosquitto.conf: every option, what a file leaves open, and errors that name file, line and option."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from swellmq.cli.main import main
from swellmq.errors import SettingsError
from swellmq.listener_settings import has_ipv6_loopback
from swellmq.mosquitto import table
from swellmq.options import OPTIONS
from swellmq.settings import Settings

EXAMPLE = Path("/usr/share/doc/mosquitto/examples/mosquitto.conf")  # of the Debian package


def load(tmp_path: Path, text: str, **flags: str) -> Settings:
    file = tmp_path / "mosquitto.conf"
    file.write_text(text)
    return Settings.load(str(file), {}, flags)


def error(tmp_path: Path, text: str) -> str:
    with pytest.raises(SettingsError) as raised:
        load(tmp_path, text)
    return str(raised.value).replace(str(tmp_path) + "/", "")


def places(settings: Settings) -> list[str]:
    return [str(listener) for listener in settings.listeners]


def test_what_an_empty_file_leaves_open(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    limits = settings.limits()
    assert places(settings)[0] == "127.0.0.1:1883" and all(
        "127.0.0.1" in one or "::1" in one for one in places(settings)
    )
    assert settings.access_anonymous == "yes"
    assert (limits.receive_maximum, limits.inflight_max) == (20, 20)
    assert (limits.topic_alias_maximum, limits.topic_aliases_out) == (10, 10)
    assert (limits.packet_bytes, limits.queued_messages, limits.overlapping) == (2_000_000, 1_000, "each")
    assert limits.session_expiry_3_s == 0xFFFFFFFF
    assert limits.like_mosquitto
    assert settings.warnings == []


def test_the_example_of_mosquitto(tmp_path: Path) -> None:
    if not EXAMPLE.exists():
        pytest.skip("mosquitto is not installed")
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) > 500
    assert load(tmp_path, text).limits().receive_maximum == 20


def test_listeners(tmp_path: Path) -> None:
    text = "listener 1884\nsocket_domain ipv4\nlistener 1885 127.0.0.1\nprotocol websockets\nlistener 0 /tmp/m.sock\n"
    settings = load(tmp_path, text)
    assert places(settings) == ["0.0.0.0:1884", "ws:127.0.0.1:1885", "unix:/tmp/m.sock"]
    assert settings.listeners[1].paths == ["*"]
    assert settings.access_anonymous == "no"  # with a listener nobody is let in unless told


def test_a_listener_on_all_addresses(tmp_path: Path) -> None:
    assert "0.0.0.0:1884" in places(load(tmp_path, "listener 1884\n"))
    assert places(load(tmp_path, "listener 1884 localhost\nsocket_domain ipv4\n")) == ["127.0.0.1:1884"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("port 1890\nsocket_domain ipv4\n", ["0.0.0.0:1890"]),
        ("bind_address 127.0.0.1\n", ["127.0.0.1:1883"]),
        ("bind_address 127.0.0.1\nport 1890\n", ["127.0.0.1:1890"]),
        ("port 1890\nbind_address 127.0.0.1\nlistener 1891 127.0.0.1\n", ["127.0.0.1:1890", "127.0.0.1:1891"]),
    ],
)
def test_the_default_listener(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert places(load(tmp_path, text)) == expected


def test_a_port_beside_the_file(tmp_path: Path) -> None:
    assert places(load(tmp_path, "", port="1999"))[0] == "127.0.0.1:1999"
    assert places(load(tmp_path, "max_topic_alias 3\n", port="1999"))[0] == "127.0.0.1:1999"
    assert places(load(tmp_path, "listener 1884 127.0.0.1\n", port="1999")) == ["127.0.0.1:1884"]


SETTINGS = [
    ("allow_anonymous true", "access_anonymous", "yes"),
    ("allow_anonymous false", "access_anonymous", "no"),
    ("password_file /etc/users", "access_password_file", "/etc/users"),
    ("acl_file /etc/my acl", "access_acl_file", "/etc/my acl"),
    ("allow_zero_length_clientid false", "limits_assign_client_ids", False),
    ("auto_id_prefix dev-", "limits_client_id_prefix", "dev-"),
    ("global_max_connections 500", "max_connections", 500),
    ("global_max_connections -1", "max_connections", 1_000_000),
    ("global_max_clients 500", "limits_sessions", 500),
    ("max_packet_size 20", "limits_packet_bytes", 20),
    ("message_size_limit 1", "limits_payload_bytes", 1),
    ("message_size_limit 0", "limits_payload_bytes", 268_435_455),
    ("max_inflight_messages 7", "limits_inflight_max", 7),
    ("max_inflight_messages 7", "limits_receive_maximum", 7),
    ("max_inflight_messages 0", "limits_receive_maximum", 65_535),
    ("max_queued_messages 5", "limits_queued_messages", 5),
    ("max_queued_messages 0", "limits_queued_messages", 1_000_000_000),
    ("max_queued_bytes 5000", "limits_queued_bytes", 5_000),
    ("max_keepalive 60", "limits_keep_alive_max_s", 60),
    ("max_keepalive 0", "limits_keep_alive_max_s", 65_535),
    ("persistent_client_expiration 14d", "limits_session_expiry_3_s", 14 * 86_400),
    ("persistent_client_expiration 2m", "limits_session_expiry_max_s", 60 * 86_400),
    ("retain_available false", "limits_retain_available", False),
    ("upgrade_outgoing_qos true", "limits_upgrade_outgoing_qos", True),
    ("queue_qos0_messages true", "limits_queue_qos_0", True),
    ("allow_duplicate_messages false", "limits_overlapping", "one"),
    ("clientid_prefixes dev-", "limits_client_ids_begin", "dev-"),
    ("memory_limit 0", "memory_budget_bytes", 0),
    ("memory_limit 64000000", "memory_budget_bytes", 64_000_000),
    ("sys_interval 0", "sys_interval_s", 0),
    ("max_connections 10", "max_connections", 10),
    ("max_connections 10\nglobal_max_connections 20", "max_connections", 10),
    ("max_connections 20\nglobal_max_connections 10", "max_connections", 10),
    ("max_topic_alias 3", "limits_topic_alias_maximum", 3),
    ("max_topic_alias_broker 3", "limits_topic_aliases_out", 3),
    ("log_dest file /var/log/m.log", "log_file", "/var/log/m.log"),
    ("log_dest none", "log_level", "none"),
    ("log_type error", "log_level", "error"),
    ("log_type error\nlog_type warning", "log_level", "warning"),
    ("log_type all", "log_level", "debug"),
    ("log_type none", "log_level", "none"),
    ("connection_messages false", "log_clients_per_second", 0),
    ("connection_messages true", "log_clients_per_second", 20),
    ("log_timestamp false", "log_timestamp_format", ""),
    ("log_timestamp_format %Y-%m-%dT%H:%M:%S", "log_timestamp_format", "%Y-%m-%dT%H:%M:%S"),
    ("pid_file /run/m.pid", "pid_file", "/run/m.pid"),
    ("user nobody", "user", "nobody"),
]


@pytest.mark.parametrize(("text", "attribute", "value"), SETTINGS)
def test_settings(tmp_path: Path, text: str, attribute: str, value: object) -> None:
    assert getattr(load(tmp_path, text + "\n"), attribute) == value


@pytest.mark.parametrize(
    ("text", "attribute", "value"),
    [
        ("maximum_qos 1", "maximum_qos", 1),
        ("max_qos 0", "maximum_qos", 0),
        ("accept_protocol_versions 3, 5", "protocol_versions", ["3.1", "5.0"]),
        ("accept_protocol_versions ,  4 ,", "protocol_versions", ["3.1.1"]),
        ("listener_allow_anonymous true", "anonymous", "yes"),
        ("listener_auto_id_prefix dev-", "client_id_prefix", "dev-"),
        ("use_username_as_clientid true", "username_as_client_id", True),
        ("max_topic_alias 3", "topic_alias_maximum", 3),
    ],
)
def test_settings_of_a_listener(tmp_path: Path, text: str, attribute: str, value: object) -> None:
    settings = load(tmp_path, f"listener 1884 127.0.0.1\n{text}\nlistener 1885 127.0.0.1\n")
    assert getattr(settings.listeners[0].rules, attribute) == value
    assert getattr(settings.listeners[1].rules, attribute) != value
    assert settings.limits_topic_alias_maximum == 10
    alone = load(tmp_path, text + "\n")
    assert getattr(alone.listeners[0].rules, attribute) == value


def test_settings_of_each_listener(tmp_path: Path) -> None:
    text = "per_listener_settings true\nlistener 1 127.0.0.1\nallow_anonymous true\n"
    text += "listener 2 127.0.0.1\nauto_id_prefix a-\n"
    first, second = load(tmp_path, text).listeners
    assert (first.rules.anonymous, second.rules.anonymous) == ("yes", "no")
    assert (first.rules.client_id_prefix, second.rules.client_id_prefix) == ("", "a-")
    text = "per_listener_settings true\nlistener 1 127.0.0.1\npassword_file a\nacl_file c\n"
    text += "listener 2 127.0.0.1\npassword_file b\nallow_zero_length_clientid false\n"
    settings = load(tmp_path, text)
    first, second = (listener.rules for listener in settings.listeners)
    assert (first.password_file, first.acl_file, first.assign_client_ids) == ("a", "c", True)
    assert (second.password_file, second.acl_file, second.assign_client_ids) == ("b", "", False)
    assert not settings.access_password_file and not settings.access_acl_file


def test_bounds_of_listeners(tmp_path: Path) -> None:
    settings = load(tmp_path, "listener 1 127.0.0.1\nmax_connections 5\nlistener 2 127.0.0.1\nmax_connections -1\n")
    assert [listener.rules.max_connections for listener in settings.listeners] == [5, 0]
    assert settings.max_connections == 1_000_000


TLS = "listener 1884 127.0.0.1\ncertfile c.pem\nkeyfile k.pem\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listener 1\ncertfile c\n", "2: certfile c: without keyfile, so that there is no TLS. Add keyfile PATH"),
        ("listener 1\nkeyfile k\n", "2: keyfile k: without certfile, so that there is no TLS. Add certfile PATH"),
        ("listener 1\nrequire_certificate true\n", "2: require_certificate true: without certfile and keyfile there"),
        ("listener 1\nuse_identity_as_username true\n", "2: use_identity_as_username true: without certfile and"),
        (TLS + "use_identity_as_username true\n", "4: use_identity_as_username true: without require_certificate"),
        (TLS + "use_subject_as_username true\n", "4: use_subject_as_username true: without require_certificate"),
        (TLS + "require_certificate true\n", "4: require_certificate true: without cafile and capath no certificate"),
        (TLS + "tls_version tlsv1\n", "4: tls_version tlsv1: not a value for it. Give tlsv1.2 or tlsv1.3"),
        (TLS + "tls_keyform engine\n", "4: tls_keyform engine: keys are in files in PEM"),
        (TLS + "enable_proxy_protocol 2\n", "2: certfile c.pem: beside the PROXY protocol"),
        ("listener 1\nenable_proxy_protocol 3\n", "2: enable_proxy_protocol 3: not a value for it"),
        (
            "listener 1\nproxy_protocol_v2_require_tls true\n",
            "2: proxy_protocol_v2_require_tls true: without the PROXY",
        ),
        ("listener 1\nenable_proxy_protocol 1\nrequire_certificate true\n", "3: require_certificate true: version 1"),
        (
            "listener 1\nenable_proxy_protocol 2\nuse_identity_as_username true\n",
            "3: use_identity_as_username true: without require_certificate a PROXY header need not name anybody",
        ),
    ],
)
def test_transports_that_make_no_sense(tmp_path: Path, text: str, expected: str) -> None:
    assert error(tmp_path, text).startswith("mosquitto.conf:" + expected)


def test_tls(tmp_path: Path) -> None:
    text = TLS + "cafile ca.pem\ncapath /etc/ca\nrequire_certificate true\ncrlfile r.pem\ntls_keyform pem\n"
    settings = load(tmp_path, text + "use_identity_as_username true\nuse_subject_as_username true\n")
    tls = settings.listeners[0].tls
    assert tls is not None and str(settings.listeners[0]) == "tls:127.0.0.1:1884"
    assert (tls.certificates, tls.keys, tls.client_cas) == (["c.pem"], ["k.pem"], ["ca.pem", "/etc/ca"])
    assert (tls.required, tls.crl, tls.identity, tls.minimum, tls.dates) == (True, "r.pem", "cn", "1.2", True)
    assert settings.warnings == []
    settings = load(tmp_path, TLS + "cafile ca.pem\ntls_version tlsv1.1\n")
    tls = settings.listeners[0].tls
    assert (
        tls is not None
        and not tls.asked
        and tls.client_cas == ["ca.pem"]
        and "TLS 1.2 is the oldest version" in settings.warnings[0]
    )
    settings = load(tmp_path, "listener 1884 127.0.0.1\ncafile ca.pem\n")
    assert settings.listeners[0].tls is None and "cafile has no effect: there is no certfile" in settings.warnings[0]


def test_proxies(tmp_path: Path) -> None:
    text = "listener 1884 127.0.0.1\nallow_anonymous true\nenable_proxy_protocol 2\n"
    settings = load(tmp_path, text)
    proxies = settings.listeners[0].proxies
    assert proxies is not None and (proxies.tls, proxies.named) == ("", False)
    assert proxies.networks == ["0.0.0.0/0", "::/0"] and "may take any address" in settings.warnings[0]
    proxies = load(tmp_path, text + "proxy_protocol_v2_require_tls true\n").listeners[0].proxies
    assert proxies is not None and (proxies.tls, proxies.named) == ("required", False)
    text += "require_certificate true\nuse_identity_as_username true\n"
    proxies = load(tmp_path, text).listeners[0].proxies
    assert proxies is not None and (proxies.tls, proxies.named) == ("certificate", True)


def test_a_store(tmp_path: Path) -> None:
    (tmp_path / "mosquitto.db").write_bytes(b"")
    settings = load(tmp_path, f"persistence true\npersistence_location {tmp_path}/\nautosave_interval 60\n")
    assert settings.data == f"{tmp_path}/mosquitto.db.swellmq"
    assert "sessions and retained messages start anew" in settings.warnings[0]
    settings = load(tmp_path, f"persistence_file b.db\npersistence true\npersistence_location {tmp_path}\n")
    assert (settings.data, settings.warnings) == (f"{tmp_path}/b.db.swellmq", [])
    assert load(tmp_path, "persistence false\n").data == ""


def test_included_files(tmp_path: Path) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "b.conf").write_text("max_keepalive 20\n")
    (folder / "a.conf").write_text("max_keepalive 10\nsys_interval 5\n")
    (folder / "c.txt").write_text("nonsense\n")
    settings = load(tmp_path, f"sys_interval 7\ninclude_dir {folder}\n")
    assert (settings.limits_keep_alive_max_s, settings.sys_interval_s) == (20, 5)
    (folder / "b.conf").write_text("\nmax_keepalive x\n")
    assert error(tmp_path, f"include_dir {folder}\n") == (
        "conf.d/b.conf:2: max_keepalive x: not a value for it. Give a whole number"
    )
    (folder / "b.conf").write_text(f"include_dir {folder}\n")
    assert "conf.d/b.conf:1: include_dir" in error(tmp_path, f"include_dir {folder}\n")
    assert error(tmp_path, "include_dir /nowhere\n").startswith("mosquitto.conf:1: include_dir /nowhere: can't be read")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# one\n\nmax_keepalve 3\n", "3: max_keepalve 3: mosquitto has no such option. Did you mean max_keepalive?"),
        ("sys_interval 70000\n", "1: sys_interval 70000: not a value for it. Give a whole number from 0 to 65535"),
        ("retain_available maybe\n", "1: retain_available maybe: not a value for it. Give true or false"),
        ("allow_anonymous yes\n", "1: allow_anonymous yes: not a value for it. Give true or false"),
        ("max_keepalive\n", "1: max_keepalive: without a value. Give one behind the name"),
        ("listener\n", "1: listener: without a value. Give one behind the name"),
        ("listener 70000\n", "1: listener 70000: not a port. Give a whole number from 0 to 65535"),
        ("listener 0\n", "1: listener 0: port 0 without the path of a Unix socket. Give a port, or 0 and a path"),
        ("protocol mqttsn\n", "1: protocol mqttsn: not a value for it. Give mqtt or websockets"),
        ("socket_domain ipx\n", "1: socket_domain ipx: not a value for it. Give ipv4 or ipv6"),
        ("accept_protocol_versions 6\n", "1: accept_protocol_versions 6: not a value for it. Give some of 3, 4 and 5"),
        ("persistent_client_expiration 3\n", "1: persistent_client_expiration 3: not a value for it. Give a number"),
        (f"auto_id_prefix {'x' * 51}\n", "1: auto_id_prefix xxx"),
        ("log_dest paper\n", "1: log_dest paper: no such destination. Give stderr, file PATH or none"),
        ("log_dest file\n", "1: log_dest file: without a path. Give one behind `file`"),
        ("log_type loud\n", "1: log_type loud: no such type. Give error, warning, notice, information, debug"),
        ("listener 1883 no.such.host.invalid\n", "1: listener 1883 no.such.host.invalid: "),
        ("plugin /lib/x.so\n", "1: plugin /lib/x.so: plugins are libraries of mosquitto. "),
        ("plugin_opt_a b\n", "1: plugin_opt_a b: plugins are libraries of mosquitto. "),
        ("connection b\n", "1: connection b: bridges come with a later version. "),
        ("bridge_cafile x\n", "1: bridge_cafile x: bridges come with a later version. "),
    ],
)
def test_errors(tmp_path: Path, text: str, expected: str) -> None:
    assert error(tmp_path, text).startswith("mosquitto.conf:" + expected)


def test_what_can_not_be_honoured_says_what_to_do(tmp_path: Path) -> None:
    unable = {name: row for name, row in table.TABLE.items() if isinstance(row, table.Unable)}
    assert "plugin" in unable
    for name, row in unable.items():
        text = error(tmp_path, f"{name} something\n")
        assert text == f"mosquitto.conf:1: {name} something: {row.problem}. {row.remedy}"
        for value in row.harmless:
            load(tmp_path, f"{name} {value}\n")


def test_what_does_not_matter_is_a_warning(tmp_path: Path) -> None:
    for name, row in table.TABLE.items():
        if isinstance(row, table.Harmless):
            settings = load(tmp_path, f"{name} 1\n")
            assert settings.warnings == [f"{tmp_path}/mosquitto.conf:1: {name} has no effect: {row.reason}"]
    assert "log_dest syslog is not served" in load(tmp_path, "log_dest syslog\n").warnings[0]
    text = "max_connections 3\nlistener 1884 127.0.0.1\n"
    assert "max_connections stands before any listener" in load(tmp_path, text).warnings[0]


def test_settings_of_the_table_exist() -> None:
    names = {option.name for option in OPTIONS}
    assert set(table.DEFAULTS) <= names
    for row in table.TABLE.values():
        if isinstance(row, table.Setting):
            assert set(row.ours) <= names


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read: No such file"):
        Settings.load(str(tmp_path / "none.conf"), {}, {})
    (tmp_path / "latin.conf").write_bytes(b"user \xff\n")
    with pytest.raises(SettingsError, match="not text in UTF-8"):
        Settings.load(str(tmp_path / "latin.conf"), {}, {})


def test_lines_of_windows_and_of_careless_people(tmp_path: Path) -> None:
    settings = load(tmp_path, "\ufefflistener 1884 127.0.0.1\r\n  # a comment\r\n\tmax_keepalive\t 60  \r\n")
    assert places(settings) == ["127.0.0.1:1884"] and settings.limits_keep_alive_max_s == 60


def test_as_toml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mosquitto.conf"
    file.write_text(
        "listener 1888 127.0.0.1\nprotocol websockets\nwebsockets_origin http://a\nmaximum_qos 1\n"
        "max_keepalive 60\nlistener 0 /tmp/s\nlistener 1887\n"
        + TLS
        + "listener 1885 127.0.0.1\ncertfile c\nkeyfile k\ncafile a\nrequire_certificate true\nciphers X:Y\n"
        + "use_subject_as_username true\ntls_version tlsv1.3\ndisable_client_cert_date_checks true\ncrlfile r\n"
        + "listener 1886 127.0.0.1\nenable_proxy_protocol 2\nrequire_certificate true\n"
        + "use_identity_as_username true\n"
    )
    assert main(["check", str(file), "--to-toml"]) == 0
    written = tmp_path / "ours.toml"
    written.write_text(capsys.readouterr().out)
    document = tomllib.loads(written.read_text())
    assert document["limits"]["keep_alive_max_s"] == 60
    assert document["listener"][0]["maximum_qos"] == 1
    before, after = Settings.load(str(file), {}, {}), Settings.load(str(written), {}, {})
    assert vars(before.limits()) == vars(after.limits()) if hasattr(before.limits(), "__dict__") else True
    assert places(before) == places(after)
    assert 'bind = ["0.0.0.0", "::"]' in written.read_text() or not has_ipv6_loopback()
    assert [vars(one.rules) for one in before.listeners] == [vars(one.rules) for one in after.listeners]
    for one, other in zip(before.listeners, after.listeners, strict=True):
        assert (one.tls and vars(one.tls)) == (other.tls and vars(other.tls))
        assert one.origins == other.origins
        assert (one.proxies and vars(one.proxies)) == (other.proxies and vars(other.proxies))
    for option in OPTIONS:
        if option.name not in ("bind", "port"):
            assert before.explain(option.name)[0] == after.explain(option.name)[0]
