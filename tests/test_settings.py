"""Settings: presets to the digit, precedence, what is wrong with a bad one, and how sizes and listeners go together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from swellmq import listener_settings
from swellmq import settings as settings_module
from swellmq.errors import SettingsError
from swellmq.limits import BACKLOG, Limits
from swellmq.listener_settings import ListenerSettings, has_ipv6_loopback
from swellmq.options import BY_NAME, INTEGER, OPTIONS, PRESETS, SECTIONS, Option, did_you_mean
from swellmq.settings import Settings, memory_bytes

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a configuration and returns its name, relative to the current folder."""
    monkeypatch.chdir(tmp_path)

    def write_text(text: str) -> str:
        (tmp_path / "s.toml").write_text(text, encoding="utf-8")
        return "s.toml"

    return write_text


@pytest.fixture(autouse=True)
def plenty_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings must not depend on the machine that runs the tests."""
    monkeypatch.setattr(settings_module, "memory_bytes", lambda: 8_000_000_000)
    monkeypatch.setattr(listener_settings, "has_ipv6_loopback", lambda: True)


def listeners_of(settings: Settings) -> list[str]:
    return [str(listener) for listener in settings.listeners]


# The table.


def test_every_option_has_an_attribute_and_every_attribute_an_option() -> None:
    declared = set(Settings.__annotations__) - {"listeners", "notes", "warnings"}
    assert declared == {option.attribute for option in OPTIONS}


def test_declared_types_are_those_of_the_values() -> None:
    for option in OPTIONS:
        declared = Settings.__annotations__[option.attribute]
        assert declared.partition("[")[0] == type(option.default).__name__, option.name


def test_every_limit_has_an_option_with_its_default() -> None:
    limits = Limits()
    fields = {name for name in dir(limits) if not name.startswith("_")}
    assert {option.name for option in OPTIONS if option.section == "limits"} == {"limits." + name for name in fields}
    for name in fields:
        assert BY_NAME["limits." + name].default == getattr(limits, name)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_options_are_well_formed(option: Option) -> None:
    assert option.section in SECTIONS
    assert option.meaning.endswith(".") and option.meaning.count(". ") == 0
    if option.kind == INTEGER:
        assert isinstance(option.default, int) and option.low <= option.default <= option.high


@pytest.mark.parametrize(
    ("preset", "initial_size", "max_size", "max_connections"),
    [
        ("default", 1_024, 100_000, 1_000_000),
        ("small", 256, 10_000, 10_000),
        ("medium", 2_048, 100_000, 100_000),
        ("large", 10_000, 100_000, 1_000_000),
    ],
)
def test_presets(preset: str, initial_size: int, max_size: int, max_connections: int) -> None:
    settings = Settings(preset=preset)
    sizes = (settings.pool_initial_size, settings.pool_max_size, settings.max_connections)
    assert sizes == (initial_size, max_size, max_connections)
    assert settings.notes == [] and settings.warnings == []
    assert settings.explain("pool.max_size")[1] == ("default" if preset == "default" else "preset " + preset)


def test_choices_of_preset_are_the_presets() -> None:
    assert BY_NAME["preset"].choices == tuple(PRESETS)


def test_defaults() -> None:
    settings = Settings()
    assert listeners_of(settings) == ["127.0.0.1:1883"]
    assert settings.listeners[0].backlog == BACKLOG
    assert (settings.pool_mode, settings.pool_threshold_percent, settings.pool_factor) == ("dynamic", 80, (3, 2))
    assert settings.pool_shrink is False
    assert (settings.log_level, settings.log_format) == ("info", "human")
    assert settings.notes == [] and settings.warnings == []
    loaded = Settings.load(None, {}, {})
    for option in OPTIONS:
        assert loaded.explain(option.name) == settings.explain(option.name) == (option.default, "default")


def test_lists_are_not_shared() -> None:
    Settings().bind.append("::1")
    assert Settings().bind == ["127.0.0.1"]


# Precedence.


def test_later_layers_win(write: Write) -> None:
    config = write('preset = "small"\n\n[pool]\nmax_size = 5000\n')
    environment = {"SWELLMQ_POOL_MAX_SIZE": "6000"}
    flags = {"pool.max_size": "7000"}
    assert Settings.load(None, {}, {}).explain("pool.max_size") == (100_000, "default")
    assert Settings.load(None, {}, {"preset": "small"}).explain("pool.max_size") == (10_000, "preset small")
    assert Settings.load(config, {}, {}).explain("pool.max_size") == (5_000, "s.toml:4")
    assert Settings.load(config, environment, {}).explain("pool.max_size") == (6_000, "environment")
    assert Settings.load(config, environment, flags).explain("pool.max_size") == (7_000, "flag")
    assert Settings(pool_max_size=8_000).explain("pool.max_size") == (8_000, "keyword")


def test_preset_may_come_from_any_layer(write: Write) -> None:
    config = write('preset = "small"\n')
    assert Settings.load(config, {}, {}).pool_initial_size == 256
    assert Settings.load(config, {"SWELLMQ_PRESET": "medium"}, {}).pool_initial_size == 2_048
    assert Settings.load(config, {"SWELLMQ_PRESET": "medium"}, {"preset": "large"}).pool_initial_size == 10_000


def test_every_type_from_every_layer(write: Write) -> None:
    config = write(
        'port = 1_884\nbind = ["::1", "127.0.0.1"]\n'
        '[pool]\nfactor = "5/4"\nshrink = true\nmode = "fixed"\n[limits]\nretain_available = false\n'
    )
    expected = {
        "port": 1_884,
        "bind": ["::1", "127.0.0.1"],
        "pool.factor": (5, 4),
        "pool.shrink": True,
        "pool.mode": "fixed",
        "limits.retain_available": False,
    }
    texts = {
        "port": "1884",
        "bind": "::1, 127.0.0.1",
        "pool.factor": "5/4",
        "pool.shrink": "on",
        "pool.mode": "fixed",
        "limits.retain_available": "no",
    }
    keywords: dict[str, object] = {BY_NAME[name].attribute: value for name, value in expected.items()}
    keywords["pool_factor"] = "5/4"
    for settings in (
        Settings.load(config, {}, {}),
        Settings.load(None, {BY_NAME[name].variable: text for name, text in texts.items()}, {}),
        Settings.load(None, {}, texts),
        Settings(listeners=(), **keywords),
    ):
        assert {name: settings.explain(name)[0] for name in expected} == expected
        assert type(settings.pool_shrink) is bool


def test_a_flag_given_several_times() -> None:
    settings = Settings.load(None, {}, {"bind": ["127.0.0.1", "::1,127.0.0.2"]})
    assert settings.bind == ["127.0.0.1", "::1", "127.0.0.2"]


def test_dotted_keys_and_inline_tables(write: Write) -> None:
    settings = Settings.load(write("pool.max_size = 5000\nlog = { level = 'debug' }\n"), {}, {})
    assert settings.explain("pool.max_size") == (5_000, "s.toml:1")
    assert settings.explain("log.level") == ("debug", "s.toml:2")


def test_byte_order_mark_and_dos_lines(write: Write) -> None:
    assert Settings.load(write("\ufeffport = 1884\r\n[pool]\r\nmax_size = 5000\r\n"), {}, {}).port == 1884


def test_other_variables_are_left_alone() -> None:
    environment = {
        "PATH": "/bin",
        "SWELLMQ_INTERPRETED": "1",
        "SWELLMQ_OPT": "1",
        "SWELLMQ_PASSWORD": "x",
        "SWELLMQ_LOG_LEVEL": "",
        "SWELLMQ_PORT": "tcp://10.0.0.7:1883",
        "SWELLMQ_PORT_1883_TCP_ADDR": "10.0.0.7",
        "SWELLMQ_SERVICE_HOST": "10.0.0.7",
    }
    settings = Settings.load(None, environment, {})
    assert settings.port == 1883 and settings.log_level == "info"


_WEB = '[[listener]]\nprotocol = "websocket"\n'

# What is wrong: configuration, environment, flags; then where, key, value, a piece of the problem and of the remedy.
BAD: list[tuple[str, dict[str, str], dict[str, str], str, str, str, str, str]] = [
    ("port = 70000", {}, {}, "s.toml:1", "port", "70000", "above 65535", "from 0 to 65535"),
    ("\n\n# port = 1\nport = -1", {}, {}, "s.toml:4", "port", "-1", "below 0", "from 0 to 65535"),
    ('port = "1883"', {}, {}, "s.toml:1", "port", '"1883"', "not a whole number", "Give a whole number"),
    ("port = true", {}, {}, "s.toml:1", "port", "true", "not a whole number", "Give a whole number"),
    ("port = 1883.0", {}, {}, "s.toml:1", "port", "1883.0", "not a whole number", "Give a whole number"),
    ("[port]\nx = 1", {}, {}, "s.toml:1", "port", "{'x': 1}", "not a whole number", "Give a whole number"),
    ("prot = 1", {}, {}, "s.toml:1", "prot", "1", "no such setting", "Did you mean port?"),
    ("max_size = 5", {}, {}, "s.toml:1", "max_size", "5", "no such setting", "Did you mean pool.max_size?"),
    (
        "[pool]\nmax-size = 5",
        {},
        {},
        "s.toml:2",
        "pool.max-size",
        "5",
        "no such setting",
        "Did you mean pool.max_size?",
    ),
    ("xyzzy = 5", {}, {}, "s.toml:1", "xyzzy", "5", "no such setting", "`swellmq reference` lists"),
    ("pool = 5", {}, {}, "s.toml:1", "pool", "5", "a section, not a setting", "Write [pool]"),
    ("bind = 5", {}, {}, "s.toml:1", "bind", "5", "not a list of texts", "Give a text, or a list"),
    ("bind = [5]", {}, {}, "s.toml:1", "bind", "[5]", "not a list of texts", "Give a text, or a list"),
    ('bind = "1.2.3.4:1883"', {}, {}, "s.toml:1", "bind", '"1.2.3.4:1883"', "not an address", "without a port"),
    ('bind = ["::1", "my.host"]', {}, {}, "s.toml:1", "bind", '"my.host"', "not an address", "such as 127.0.0.1"),
    ("bind = []", {}, {}, "", "bind", "[]", "nothing to listen on", "Give an address"),
    ("unix = 3", {}, {}, "s.toml:1", "unix", "3", "not a text", "Give a text"),
    (f'unix = "/{"x" * 107}"', {}, {}, "s.toml:1", "unix", '"/xxx', "107 bytes", "shorter path"),
    ('preset = "huge"', {}, {}, "s.toml:1", "preset", '"huge"', "none of the choices", "default, small, medium, large"),
    ("[pool]\ninitial_size = 0", {}, {}, "s.toml:2", "pool.initial_size", "0", "below 1", "(objects)"),
    ("[pool]\nmax_size = -5", {}, {}, "s.toml:2", "pool.max_size", "-5", "below 1", "from 1 to 10000000"),
    ("max_connections = 0", {}, {}, "s.toml:1", "max_connections", "0", "below 1", "from 1 to 10000000"),
    ("[pool]\nthreshold_percent = 101", {}, {}, "s.toml:2", "pool.threshold_percent", "101", "above 100", "1 to 100"),
    ("[pool]\nthreshold_percent = 0", {}, {}, "s.toml:2", "pool.threshold_percent", "0", "below 1", "1 to 100"),
    ("[pool]\nfactor = 1.5", {}, {}, "s.toml:2", "pool.factor", "1.5", "not a fraction", 'such as "3/2"'),
    ('[pool]\nfactor = "1.5"', {}, {}, "s.toml:2", "pool.factor", '"1.5"', "not a fraction", 'such as "3/2"'),
    ('[pool]\nfactor = "3/3"', {}, {}, "s.toml:2", "pool.factor", '"3/3"', "not above 1", 'such as "3/2"'),
    ('[pool]\nfactor = "1/0"', {}, {}, "s.toml:2", "pool.factor", '"1/0"', "not above 1", 'such as "3/2"'),
    ('[pool]\nfactor = "21/2"', {}, {}, "s.toml:2", "pool.factor", '"21/2"', "up to 10", 'such as "3/2"'),
    ('[pool]\nfactor = "3000001/2000000"', {}, {}, "s.toml:2", "pool.factor", '"3000001/', "above 1000000", "3/2"),
    ('[pool]\nshrink = "yes"', {}, {}, "s.toml:2", "pool.shrink", '"yes"', "neither true nor false", "true or false"),
    ('[log]\nlevel = "loud"', {}, {}, "s.toml:2", "log.level", '"loud"', "none of the choices", "debug, info"),
    ("[limits]\nmaximum_qos = 3", {}, {}, "s.toml:2", "limits.maximum_qos", "3", "above 2", "from 0 to 2"),
    ("[limits]\npacket_byte = 3", {}, {}, "s.toml:2", "limits.packet_byte", "3", "no such", "limits.packet_bytes?"),
    ("[[listener]]\nprt = 1", {}, {}, "s.toml:2", "listener.prt", "1", "no such setting", "listener.port?"),
    ("[[listener]]\n[[listener]]\nport = 65536", {}, {}, "s.toml:3", "listener.port", "65536", "above", "65535"),
    ("[[listener]]\nbind = []", {}, {}, "s.toml:2", "listener.bind", "[]", "empty", "Give an address"),
    ('[[listener]]\nbind = "x"', {}, {}, "s.toml:2", "listener.bind", '"x"', "not an address", "127.0.0.1"),
    ('[[listener]]\nport = 1\nunix = "/u"', {}, {}, "s.toml:2", "listener.port", "1", "beside unix", "two listeners"),
    ('[[listener]]\nmode = "0660"', {}, {}, "s.toml:2", "listener.mode", '"0660"', "without unix", "Leave it out"),
    ('[[listener]]\nunix = "/u"\nmode = 660', {}, {}, "s.toml:3", "listener.mode", "660", "not an octal", '"0660"'),
    ('[[listener]]\nunix = "/u"\nmode = "rw"', {}, {}, "s.toml:3", "listener.mode", '"rw"', "not an octal", '"0660"'),
    ('[[listener]]\nprotocol = "ws"', {}, {}, "s.toml:2", "listener.protocol", '"ws"', "none of", "mqtt, websocket"),
    (
        '[[listener]]\npath = "/m"',
        {},
        {},
        "s.toml:2",
        "listener.path",
        "['/m']",
        "without WebSocket",
        'Add protocol = "w',
    ),
    (_WEB + 'path = "m"', {}, {}, "s.toml:3", "listener.path", '"m"', "not the path of a URL", "such as /mqtt"),
    (_WEB + 'path = ["/", "/a b"]', {}, {}, "s.toml:3", "listener.path", '"/a b"', "not the path", "such as /mqtt"),
    (_WEB + 'path = "/m?x=1"', {}, {}, "s.toml:3", "listener.path", '"/m?x=1"', "not the path", "such as /mqtt"),
    (_WEB + "path = []", {}, {}, "s.toml:3", "listener.path", "[]", "empty", "Give a path"),
    ("", {}, {"websocket_port": "x"}, "--websocket-port", "websocket_port", '"x"', "not a whole number", "0 to 65535"),
    ("port = 1884\n[[listener]]", {}, {}, "s.toml:1", "port", "1884", "beside listeners", "Leave port out"),
    (
        "max_connections = 350\n[pool]\nmax_size = 400",
        {},
        {},
        "s.toml:3",
        "pool.max_size",
        "400",
        "above max_connections = 350 (s.toml:1)",
        "Lower pool.max_size to 350 or less, or raise max_connections to 400 or more",
    ),
    (
        "",
        {},
        {"preset": "small", "pool.max_size": "20000"},
        "--pool.max-size",
        "pool.max_size",
        "20000",
        "above max_connections = 10000 (preset small)",
        "or raise max_connections to 20000 or more",
    ),
    (
        "",
        {"SWELLMQ_POOL_INITIAL_SIZE": "500"},
        {"pool.max_size": "300"},
        "SWELLMQ_POOL_INITIAL_SIZE",
        "pool.initial_size",
        "500",
        "above pool.max_size = 300 (flag)",
        "Lower pool.initial_size to 300 or less",
    ),
    (
        "",
        {},
        {"pool.initial_size": "500", "max_connections": "300"},
        "--pool.initial-size",
        "pool.initial_size",
        "500",
        "above pool.max_size = 300 (default, lowered to max_connections)",
        "or raise pool.max_size to 500 or more",
    ),
    ("", {"SWELLMQ_PORT": "x"}, {}, "SWELLMQ_PORT", "port", '"x"', "not a whole number", "from 0 to 65535"),
    ("", {"SWELLMQ_POOL_SHRINK": "so"}, {}, "SWELLMQ_POOL_SHRINK", "pool.shrink", '"so"', "neither", "true or false"),
    ("", {"SWELLMQ_PROT": "1"}, {}, "environment", "SWELLMQ_PROT", '"1"', "no such", "Did you mean SWELLMQ_PORT?"),
    ("", {}, {"port": "1e3"}, "--port", "port", '"1e3"', "not a whole number", "from 0 to 65535"),
    ("", {}, {"log.level": "DEBUG"}, "--log.level", "log.level", '"DEBUG"', "none of the choices", "debug, info"),
    ("", {}, {"bind": "0.0.0"}, "--bind", "bind", '"0.0.0"', "not an address", "127.0.0.1"),
    ("port =\n", {}, {}, "s.toml:1", "config", '"s.toml"', "not TOML: Invalid value", "Mend it"),
    ("port = 1\n\nport = 2\n", {}, {}, "s.toml:3", "config", '"s.toml"', "not TOML: Cannot overwrite", "Mend it"),
    ("port = " + "9" * 5_000, {}, {}, "s.toml", "config", '"s.toml"', "not TOML", "Mend it"),
]


@pytest.mark.parametrize("row", BAD, ids=[f"{row[0]!r:.40} {row[1] or ''}{row[2] or ''}" for row in BAD])
def test_bad_settings(row: tuple[str, dict[str, str], dict[str, str], str, str, str, str, str], write: Write) -> None:
    text, environment, flags, where, key, value, problem, remedy = row
    with pytest.raises(SettingsError) as caught:
        Settings.load(write(text) if text else None, environment, flags)
    error = caught.value
    assert error.key == key
    assert error.where == where
    assert problem in error.problem
    assert remedy in error.remedy
    assert f"{key} = {value}" in str(error)
    assert str(error).startswith(f"{error.where}: {key}" if error.where else key)


@pytest.mark.parametrize(
    ("text", "where", "key", "problem", "remedy"),
    [
        ("[pol]\nmax_size = 5", "s.toml:1", "[pol]", "no such section", "Did you mean pool?"),
        ("[zebra]", "s.toml:1", "[zebra]", "no such section", "`swellmq reference` lists"),
        ("[listener]\nport = 1", "s.toml:1", "listener", "not a list of tables", "Write [[listener]]"),
        ("listener = [1]", "s.toml:1", "listener", "not a list of tables", "Write [[listener]]"),
    ],
)
def test_bad_sections(text: str, where: str, key: str, problem: str, remedy: str, write: Write) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(write(text), {}, {})
    error = caught.value
    assert (error.where, error.key, error.problem) == (where, key, problem)
    assert remedy in error.remedy


def test_unreadable_files(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'unix = "\xe9"\n')
    for path, problem in (
        (tmp_path / "none.toml", "can't be read: No such file or directory"),
        (tmp_path, "can't be read: Is a directory"),
        (latin, "can't be read: not text in UTF-8"),
        (tmp_path / "mosquitto.conf", "can't be read: No such file or directory"),
    ):
        with pytest.raises(SettingsError) as caught:
            Settings.load(str(path), {}, {})
        assert caught.value.key == "config" and caught.value.problem == problem
        assert str(path)[:60] in str(caught.value)


def test_unknown_keyword() -> None:
    with pytest.raises(SettingsError, match=r"pool_maxsize = 3: no such setting. Did you mean pool_max_size\?"):
        Settings(pool_maxsize=3)
    with pytest.raises(SettingsError, match="port = 70000: above 65535"):
        Settings(port=70_000)


def test_did_you_mean_says_nothing_rather_than_nonsense() -> None:
    assert did_you_mean("pool.maxsize", BY_NAME) == "Did you mean pool.max_size?"
    assert did_you_mean("xyzzy", BY_NAME) == ""


# Sizes.


def test_sizes_nobody_chose_are_lowered_to_those_chosen() -> None:
    settings = Settings.load(None, {}, {"preset": "large", "pool.max_size": "300", "max_connections": "350"})
    assert (settings.pool_initial_size, settings.pool_max_size, settings.max_connections) == (300, 300, 350)
    assert settings.notes == ["pool.initial_size is lowered from 10000 (preset large) to pool.max_size = 300"]
    assert settings.explain("pool.initial_size") == (300, "preset large, lowered to pool.max_size")
    settings = Settings(max_connections=50)
    assert (settings.pool_initial_size, settings.pool_max_size, settings.max_connections) == (50, 50, 50)
    assert settings.notes == [
        "pool.max_size is lowered from 100000 (default) to max_connections = 50",
        "pool.initial_size is lowered from 1024 (default) to pool.max_size = 50",
    ]


def test_equal_sizes_are_fine() -> None:
    settings = Settings(pool_initial_size=7, pool_max_size=7, max_connections=7)
    assert settings.notes == []


def test_initial_size_means_nothing_without_a_pool() -> None:
    settings = Settings(pool_mode="none", pool_initial_size=500, pool_max_size=300)
    assert settings.notes == ["pool.initial_size has no effect with pool.mode = none"]
    assert settings.preheated_objects() == 0
    assert Settings(pool_mode="fixed", pool_max_size=300).preheated_objects() == 300
    assert Settings(pool_max_size=300).preheated_objects() == 300
    assert Settings().preheated_objects() == 1_024


# Listeners.


def test_listener_tables(write: Write) -> None:
    config = write(
        '[[listener]]\nbind = ["127.0.0.1", "::1"]\nport = 1884\nbacklog = 7\n'
        '[[listener]]\nunix = "/run/s.sock"\nmode = 0o600\n'
        '[[listener]]\nunix = "/run/t.sock"\nmode = "0666"\n[[listener]]'
    )
    listeners = Settings.load(config, {}, {}).listeners
    assert [(str(one), one.backlog, one.unix_mode) for one in listeners] == [
        ("127.0.0.1:1884", 7, 0o660),
        ("[::1]:1884", 7, 0o660),
        ("unix:/run/s.sock", BACKLOG, 0o600),
        ("unix:/run/t.sock", BACKLOG, 0o666),
        ("127.0.0.1:1883", BACKLOG, 0o660),
    ]


def test_bind_and_port_replace_the_listeners_of_the_file(write: Write) -> None:
    config = write("[[listener]]\nport = 1884\n[[listener]]\nport = 1885\n")
    settings = Settings.load(config, {"SWELLMQ_BIND": "::1"}, {"port": "0"})
    assert listeners_of(settings) == ["[::1]:0"]
    assert settings.notes == ["the listeners of the file give way to bind and port"]
    settings = Settings.load(config, {}, {"unix": "/run/s.sock"})
    assert listeners_of(settings) == ["127.0.0.1:1884", "127.0.0.1:1885", "unix:/run/s.sock"]
    assert settings.notes == []


def test_listeners_of_an_embedding_program() -> None:
    settings = Settings(listeners=[ListenerSettings("::1", 0), ListenerSettings(unix="s.sock")])
    assert listeners_of(settings) == ["[::1]:0", "unix:s.sock"]
    assert listeners_of(Settings(bind=[], unix="s.sock")) == ["unix:s.sock"]
    with pytest.raises(SettingsError, match="given beside listeners"):
        Settings(listeners=[ListenerSettings()], port=0)


def test_websocket_listeners(write: Write) -> None:
    config = write(
        _WEB + 'bind = ["127.0.0.1", "::1"]\nport = 9001\n'
        '[[listener]]\nprotocol = "websocket"\nunix = "/run/s.sock"\npath = ["/a", "/b"]\n[[listener]]\n'
    )
    listeners = Settings.load(config, {}, {}).listeners
    assert [(str(one), one.protocol, one.paths) for one in listeners] == [
        ("ws:127.0.0.1:9001", "websocket", ["/mqtt", "/"]),
        ("ws:[::1]:9001", "websocket", ["/mqtt", "/"]),
        ("ws:unix:/run/s.sock", "websocket", ["/a", "/b"]),
        ("127.0.0.1:1883", "mqtt", ["/mqtt", "/"]),
    ]


def test_websocket_port_adds_listeners(write: Write) -> None:
    flags = {"websocket_port": "9001"}
    assert listeners_of(Settings.load(None, {}, flags)) == ["127.0.0.1:1883", "ws:127.0.0.1:9001"]
    config = write("[[listener]]\nport = 1884\n")
    assert listeners_of(Settings.load(config, {}, flags)) == ["127.0.0.1:1884", "ws:127.0.0.1:9001"]
    both = Settings.load(config, {"SWELLMQ_WEBSOCKET_PORT": "9001"}, {"bind": ["::1"]})
    assert listeners_of(both) == ["[::1]:1883", "ws:[::1]:9001"]
    everywhere = Settings(bind="0.0.0.0", websocket_port=80)
    assert any(warning.startswith("ws:0.0.0.0:80 is open") for warning in everywhere.warnings)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("port = 1883\nwebsocket_port = 1883", "ws:127.0.0.1:1883"),
        ('[[listener]]\nport = 5\n[[listener]]\nbind = ["::1", "127.0.0.1"]\nport = 5', "127.0.0.1:5"),
        ('unix = "/run/s"\n[[listener]]\nunix = "/run/s"', "unix:/run/s"),
    ],
)
def test_two_listeners_at_one_place(text: str, place: str, write: Write) -> None:
    with pytest.raises(SettingsError, match=f"listener {place}: there is another at that place"):
        Settings.load(write(text), {}, {})


def test_a_file_of_nothing_but_brackets(write: Write) -> None:
    with pytest.raises(SettingsError, match="not TOML: nested too deeply"):
        Settings.load(write("port = " + "[" * 100_000), {}, {})


def test_listeners_at_any_free_port(write: Write) -> None:
    assert len(Settings.load(write("[[listener]]\nport = 0\n[[listener]]\nport = 0"), {}, {}).listeners) == 2


def test_localhost_is_both_loopbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert listeners_of(Settings(bind="localhost", port=5)) == ["127.0.0.1:5", "[::1]:5"]
    monkeypatch.setattr(listener_settings, "has_ipv6_loopback", lambda: False)
    assert listeners_of(Settings(bind="localhost", port=5)) == ["127.0.0.1:5"]


def test_has_ipv6_loopback(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    root = f"{tmp_path}/"
    assert not has_ipv6_loopback(root)
    (tmp_path / "proc/net/if_inet6").write_text(f"{'0' * 31}1 01 80 10 80       lo\n")
    assert has_ipv6_loopback(root)


# Warnings.


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7", "fe80::1%eth0"])
def test_open_addresses_get_a_warning(address: str) -> None:
    [warning] = Settings(bind=address).warnings
    assert address in warning and "no authentication" in warning


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_gets_none(address: str) -> None:
    assert Settings(bind=address).warnings == []


def test_preheating_too_much_gets_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(pool_initial_size=10_240).warnings == []
    [warning] = Settings(pool_initial_size=10_241).warnings
    assert warning == (
        "10241 objects preheated at start cost 2.6 MB; the preset default starts with 1024 and grows as clients arrive"
    )
    monkeypatch.setattr(settings_module, "memory_bytes", lambda: 128_000_000)
    assert Settings(pool_mode="fixed", pool_max_size=50_000).warnings == []  # 12.8 MB: ten percent, and no more
    [warning] = Settings(pool_mode="fixed", pool_max_size=60_000).warnings
    assert warning == "60000 objects preheated at start cost 15.4 MB, 12 % of the 128 MB of memory there is"
    assert Settings(pool_mode="fixed", pool_max_size=60_000, pool_memory_warn_percent=20).warnings == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 0),
        ({"proc/meminfo": "MemTotal:     1000 kB\nMemFree: 1 kB\n"}, 1_024_000),
        (
            {
                "proc/meminfo": "MemTotal:     1000 kB\n",
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/memory.max": "5000\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
            },
            5_000,
        ),
        (
            {
                "proc/meminfo": "MemTotal:     1000 kB\n",
                "proc/self/cgroup": "4:cpu,memory:/docker/x\n3:cpuset:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "7000\n",
            },
            7_000,
        ),
        (
            {
                "proc/meminfo": "MemTotal:     1000 kB\n",
                "proc/self/cgroup": "4:memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            1_024_000,
        ),
    ],
)
def test_memory_bytes(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory_bytes(f"{tmp_path}/") == expected


# Limits.


def test_limits() -> None:
    limits = Settings(limits_packet_bytes=2_000, limits_retain_available=False).limits()
    assert limits.packet_bytes == 2_000 and limits.retain_available is False
    assert limits.queued_messages == Limits().queued_messages
