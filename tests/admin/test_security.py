"""Who may ask what: the secret, logins, the pages of other sites, HTTPS, and a reload of secret and certificate."""

from __future__ import annotations

import base64
import gzip
import http.client
import logging
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from admin_client import Answer, admin_port, ask
from net_certificates import Authority
from socket_client import PATIENCE_S, quiet_settings

from swellmq import Broker, Settings
from swellmq.admin.answer import ApiError
from swellmq.admin.security import COOKIE, FAILURES_MAX, LOGIN_S, LOGINS_MAX, WINDOW_MS, Security
from swellmq.admin.settings import parse_place
from swellmq.errors import SettingsError
from swellmq.server import Server

Start = Callable[..., Broker]

TOKEN = "correct horse battery"
OVERVIEW = "/api/v1/overview"


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(b"anybody:" + password.encode()).decode()}


def test_without_the_secret_only_health_and_the_page_are_told(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0", admin_token=TOKEN)
    for path in (OVERVIEW, "/api/v1/clients", "/api/v1/statistics", "/api/v1/retained/a"):
        answer = ask(one, path)
        assert (answer.status, answer.code()) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == 'Bearer realm="swellmq"'
        assert ask(one, path, token=TOKEN).status in (200, 404)
    assert ask(one, "/").status == 200
    assert ask(one, "/health").json() == {"status": "ok", "reasons": []}
    for wrong in ("", "x", TOKEN + "x", TOKEN[:-1], "ü"):
        assert ask(one, OVERVIEW, headers={"Authorization": f"Bearer {wrong}"}).status == 401
    assert ask(one, OVERVIEW, headers={"Authorization": "Digest x"}).status == 401
    assert ask(one, OVERVIEW, headers={"Authorization": "Basic ?"}).status == 401


def test_the_secret_is_a_password_too(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0", admin_token=TOKEN)
    assert ask(one, OVERVIEW, headers=basic(TOKEN)).status == 200
    assert ask(one, OVERVIEW, headers=basic("wrong")).status == 401


def test_reasons_are_told_to_those_who_may_know(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0", admin_token=TOKEN)
    one.server.stopping = False
    one.server.pool.max_connections = 0
    assert ask(one, "/ready").json() == {"status": "not ok", "reasons": []}
    assert ask(one, "/ready", token=TOKEN).json()["reasons"] == ["max_connections is reached: new clients are refused"]
    one.server.pool.max_connections = 100_000


def test_a_browser_logs_in_and_out(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0", admin_token=TOKEN)
    assert ask(one, "/api/v1/login", "POST", {"token": "wrong"}).status == 401
    answer = ask(one, "/api/v1/login", "POST", {"token": TOKEN})
    assert answer.status == 204
    cookie, *flags = answer.headers["set-cookie"].split("; ")
    assert flags == ["Path=/", f"Max-Age={LOGIN_S}", "HttpOnly", "SameSite=Strict"]
    headers = {"Cookie": f"other=1; {cookie}"}
    assert ask(one, OVERVIEW, headers=headers).status == 200
    out = ask(one, "/api/v1/logout", "POST", headers=headers)
    assert f"{COOKIE}=; Path=/; Max-Age=0" in out.headers["set-cookie"]
    assert ask(one, OVERVIEW, headers=headers).status == 401


def test_a_secret_for_reading_changes_nothing(broker: Start, tmp_path: Path) -> None:
    file = tmp_path / "read"
    file.write_text("look but do not touch\n")
    one = broker(admin="127.0.0.1:0", admin_token=TOKEN, admin_read_token_file=str(file))
    reader = "look but do not touch"
    login = ask(one, "/api/v1/login", "POST", {"token": reader})
    assert login.status == 204
    cookie = {"Cookie": login.headers["set-cookie"].partition(";")[0]}
    for token, headers in ((reader, {}), ("", cookie)):
        assert ask(one, OVERVIEW, token=token, headers=headers).status == 200
        for method, path in (
            ("POST", "/api/v1/pool/self-check"),
            ("PUT", "/api/v1/log-level"),
            ("DELETE", "/api/v1/clients/x"),
            ("POST", "/api/v1/publish"),
        ):
            answer = ask(one, path, method, token=token, headers=headers)
            assert (answer.status, answer.code()) == (403, "read_only")
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", **headers}
        assert ask(one, "/mqtt", token=token, headers=upgrade).code() == "read_only"
    assert ask(one, "/api/v1/pool/self-check", "POST", token=TOKEN).status == 200


def test_logins_end_and_are_bounded() -> None:
    security = Security(TOKEN.encode(), b"", ["127.0.0.1"], "https")
    first = security.log_in(TOKEN, "", 1).partition(";")[0]
    assert "Secure" in security.log_in(TOKEN, "", 1)
    assert security.rights({"cookie": first}, "", LOGIN_S * 1_000)
    assert not security.rights({"cookie": first}, "", LOGIN_S * 1_000 + 1)
    for _ in range(LOGINS_MAX):
        last = security.log_in(TOKEN, "", 2).partition(";")[0]
    assert len(security.logins) == LOGINS_MAX
    assert not security.rights({"cookie": first}, "", 3)
    assert security.rights({"cookie": last}, "", 3)


def test_who_guesses_has_to_wait_but_not_behind_a_proxy_on_this_machine() -> None:
    security = Security(TOKEN.encode(), b"", ["0.0.0.0"], "http")

    def code(token: str, address: str, now_ms: int) -> int:
        try:
            assert security.rights({"authorization": "Bearer " + token}, address, now_ms)
        except ApiError as error:
            return error.status
        return 200

    assert [code("wrong", "192.0.2.1", 1_000) for _ in range(FAILURES_MAX + 2)] == [401] * FAILURES_MAX + [429] * 2
    assert code(TOKEN, "192.0.2.1", 1_000 + WINDOW_MS - 1) == 429
    assert code(TOKEN, "192.0.2.2", 1_000) == 200
    assert code(TOKEN, "192.0.2.1", 1_000 + WINDOW_MS) == 200
    assert [code("wrong", "127.0.0.1", 1_000) for _ in range(FAILURES_MAX + 2)] == [401] * (FAILURES_MAX + 2)
    assert security.refused == 2 * FAILURES_MAX + 2


def test_without_a_secret_another_name_for_this_machine_is_refused(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    for host in ("localhost", "127.0.0.1:18083", "[::1]:5", "LOCALHOST:1"):
        assert ask(one, OVERVIEW, headers={"Host": host}).status == 200
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example:1"):
        assert ask(one, OVERVIEW, headers={"Host": host}).code() == "wrong_host"
    safe = broker(admin="127.0.0.1:0", admin_token=TOKEN)
    assert ask(safe, OVERVIEW, headers={"Host": "broker.example"}, token=TOKEN).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_another_sites_page_can_change_nothing(method: str, broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    own = f"http://127.0.0.1:{admin_port(one)}"
    path = {"POST": "/api/v1/pool/self-check", "PUT": "/api/v1/log-level", "DELETE": "/api/v1/clients/x"}[method]
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": own.replace("http", "https")},
        {"Origin": own + "0"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": own, "Sec-Fetch-Site": "same-site"},
    ):
        assert ask(one, path, method, headers=headers).code() == "wrong_origin"
    for headers in ({}, {"Origin": own}, {"Origin": own, "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        assert ask(one, path, method, headers=headers).status not in (401, 403)


def test_the_origin_behind_a_proxy_that_ends_https(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0", admin_token=TOKEN)
    headers = {"Host": "broker.example", "Origin": "https://broker.example"}
    assert ask(one, "/api/v1/pool/self-check", "POST", headers=headers, token=TOKEN).status == 200


def test_files_of_the_page(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0", admin_token=TOKEN)
    page = ask(one, "/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert page.headers["x-frame-options"] == "DENY"
    assert ask(one, "/index.html").body == page.body
    again = ask(one, "/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("accepted", ["gzip", "br, gzip;q=0.5", "*", "GZIP"])
def test_what_is_long_is_packed_for_those_who_can_read_it(accepted: str, broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    plain = ask(one, "/openapi.json")
    packed = ask(one, "/openapi.json", headers={"Accept-Encoding": accepted})
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 3
    for refused in ("identity", "gzip;q=0", "gzip; q=0.0", ""):
        assert "content-encoding" not in ask(one, "/openapi.json", headers={"Accept-Encoding": refused}).headers


# Settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:18083", (["127.0.0.1"], 18083)),
        ("[::1]:0", (["::1"], 0)),
        ("0.0.0.0:1", (["0.0.0.0"], 1)),
    ],
)
def test_places(text: str, expected: tuple[list[str], int]) -> None:
    assert parse_place(text) == expected


@pytest.mark.parametrize(
    "text", ["18083", "127.0.0.1", "::1:80", "127.0.0.1:65536", "[127.0.0.1]:80", "host:80", ":80"]
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(SettingsError, match="not an address and a port"):
        Settings(port=0, admin=text)


def test_what_contradicts_itself(tmp_path: Path) -> None:
    for values, words in (
        ({"admin": "0.0.0.0:0"}, "nothing says who may"),
        ({"admin_token": "short"}, "shorter than"),
        ({"admin_token": TOKEN, "admin_token_file": "x"}, "given beside"),
        ({"admin_key": "x"}, "without a certificate"),
        ({"admin_read_token_file": "x"}, "without a secret that may do everything"),
    ):
        with pytest.raises(SettingsError, match=words):
            Settings(**{"port": 0, "admin": "127.0.0.1:0", **values})
    file = tmp_path / "token"
    file.write_text("short\n")
    for path, words in ((file, "shorter than"), (tmp_path / "nothing", "can't be read")):
        with pytest.raises(SettingsError, match=words):
            Server(quiet_settings(admin="127.0.0.1:0", admin_token_file=str(path))).open()
    file.write_text(TOKEN)
    with pytest.raises(SettingsError, match="the same secret"):
        Server(quiet_settings(admin="127.0.0.1:0", admin_token=TOKEN, admin_read_token_file=str(file))).open()
    assert "no TLS" in Settings(port=0, admin="0.0.0.0:0", admin_token=TOKEN).warnings[0]
    assert "no effect without admin" in Settings(port=0, admin_token=TOKEN).notes[0]


def test_a_library_that_is_missing_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("swellmq.admin.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "h11", None)
    with pytest.raises(SettingsError, match=r"h11 is not installed.*pip install 'swellmq\[admin\]'"):
        Server(quiet_settings(admin="127.0.0.1:0")).open()


def test_a_port_that_is_taken(broker: Start) -> None:
    one = broker(admin="127.0.0.1:0")
    with pytest.raises(SettingsError, match=r"admin = .*Choose another"):
        Server(quiet_settings(admin=f"127.0.0.1:{admin_port(one)}")).open()


# HTTPS


def ask_https(broker: Broker, authority: Authority, token: str) -> Answer:
    context = ssl.create_default_context(cafile=authority.path)
    connection = http.client.HTTPSConnection("localhost", admin_port(broker), timeout=PATIENCE_S, context=context)
    try:
        connection.request("GET", "/api/v1/statistics", headers={"Authorization": "Bearer " + token})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def test_https_and_a_reload_of_its_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority(tmp_path)
    certificate, token = authority.server("localhost"), tmp_path / "token"
    token.write_text(TOKEN + "\n")
    settings = quiet_settings(admin="127.0.0.1:0", admin_certificate=certificate, admin_token_file=str(token))
    with Broker(settings) as one, caplog.at_level(logging.INFO, "swellmq"):
        assert one.server.admin is not None
        assert one.server.admin.url().startswith("https://")
        assert ask_https(one, authority, TOKEN).status == 200
        token.write_text("another secret, longer\n")
        Path(certificate).write_bytes(Path(authority.server("localhost", file="new")).read_bytes())
        done: list[bool] = []
        one._call_and_wait(lambda: done.append(one.server.reload()))
        assert done == [True]
        assert ask_https(one, authority, TOKEN).status == 401
        assert ask_https(one, authority, "another secret, longer").status == 200
        token.write_text("short")
        one._call_and_wait(lambda: done.append(one.server.reload()))
        assert done == [True, False]
        assert ask_https(one, authority, "another secret, longer").status == 200
    assert TOKEN not in caplog.text


def test_a_certificate_that_is_of_no_use(tmp_path: Path) -> None:
    file = tmp_path / "x.pem"
    file.write_text("no certificate")
    with pytest.raises(SettingsError, match="admin_certificate"):
        Server(quiet_settings(admin="127.0.0.1:0", admin_certificate=str(file))).open()
