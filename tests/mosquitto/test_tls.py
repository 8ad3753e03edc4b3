"""TLS by a mosquitto.conf: the same clients get in, with the same names, as with mosquitto itself."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from beside import CLOSED, Dial, alone, beside, echo
from net_certificates import Authority

pytestmark = pytest.mark.needs_mosquitto

TLS = "listener {0} 127.0.0.1\nallow_anonymous true\ncafile CA\ncertfile SERVER\nkeyfile SERVER\n"
MUTUAL = TLS + "require_certificate true\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("certificates"))
    made.server("localhost")
    made.sign("ada", organization="Works")
    made.sign("eve", organization="Works")
    made.sign("old", organization="Works", days=-1)
    made.sign("", organization="Works", file="nameless")
    stranger = Authority(made.folder / "..", "stranger")
    stranger.folder = made.folder
    stranger.sign("mallory")
    return made


def conf(authority: Authority, text: str) -> str:
    return text.replace("CA", authority.path).replace("SERVER", f"{authority.folder}/localhost.pem")


def context(authority: Authority, name: str = "", **options: Any) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=authority.path)
    for option, value in options.items():
        setattr(made, option, value)
    if name:
        made.load_cert_chain(f"{authority.folder}/{name}.pem")
    return made


def test_with_a_certificate_of_its_own(tmp_path: Path, authority: Authority) -> None:
    def talk(dial: Dial) -> Any:
        client = dial(tls=context(authority))
        return client.connect().reason_code, echo(client, "a/b"), dial.enter()

    assert beside(tmp_path, conf(authority, TLS), talk) == (0, ["00", "a/b"], CLOSED)


def test_the_default_listener(tmp_path: Path, authority: Authority) -> None:
    text = "port {0}\nbind_address 127.0.0.1\nallow_anonymous true\ncertfile SERVER\nkeyfile SERVER\n"
    assert beside(tmp_path, conf(authority, text), lambda dial: dial.enter(tls=context(authority))) == 0


def test_versions_and_ciphers(tmp_path: Path, authority: Authority) -> None:
    older = context(authority, maximum_version=ssl.TLSVersion.TLSv1_2)

    def talk(dial: Dial) -> Any:
        return dial.enter(tls=older), dial.enter(tls=context(authority))

    assert beside(tmp_path, conf(authority, TLS) + "tls_version tlsv1.2\n", talk) == (0, 0)
    assert beside(tmp_path, conf(authority, TLS) + "tls_version tlsv1.3\n", talk) == (CLOSED, 0)
    cipher = "ECDHE-ECDSA-AES256-GCM-SHA384"

    def chosen(dial: Dial) -> Any:
        client = dial(tls=older)
        assert isinstance(client.sock, ssl.SSLSocket)
        return client.sock.cipher()

    assert beside(tmp_path, conf(authority, TLS) + f"ciphers {cipher}\n", chosen)[0] == cipher


def test_certificates_of_clients(tmp_path: Path, authority: Authority) -> None:
    def talk(dial: Dial) -> Any:
        names = ("ada", "", "old", "mallory", "eve")
        return [dial.enter(tls=context(authority, name), client_id=name or "c") for name in names]

    assert beside(tmp_path, conf(authority, MUTUAL), talk) == [0, CLOSED, CLOSED, CLOSED, 0]
    revoked = authority.revoke(f"{authority.folder}/eve.pem")
    assert beside(tmp_path, conf(authority, MUTUAL + f"crlfile {revoked}\n"), talk)[4] == CLOSED


def test_authorities_complete_the_chain_of_the_server(tmp_path: Path, authority: Authority) -> None:
    between = authority.intermediate("between")
    between.server("localhost", file="deep")
    text = conf(authority, TLS.replace("SERVER", f"{authority.folder}/deep.pem"))

    def talk(dial: Dial) -> Any:
        return dial.enter(tls=context(authority)), dial.enter(tls=context(authority, "mallory"))

    assert beside(tmp_path, text.replace(authority.path, between.path), talk) == (0, 0)
    with pytest.raises(ssl.SSLCertVerificationError):
        alone(tmp_path, text, lambda dial: dial(tls=context(authority)))


def test_authorities_in_a_folder(tmp_path: Path, authority: Authority) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    command = ["openssl", "x509", "-subject_hash", "-noout", "-in", authority.path]
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (folder / f"{name}.0").write_bytes(Path(authority.path).read_bytes())
    text = conf(authority, MUTUAL).replace(f"cafile {authority.path}", f"capath {folder}")

    def talk(dial: Dial) -> Any:
        return dial.enter(tls=context(authority, "ada")), dial.enter(tls=context(authority, "mallory"))

    assert beside(tmp_path, text, talk) == (0, CLOSED)


@pytest.mark.parametrize(
    ("option", "user"), [("use_identity_as_username", "ada"), ("use_subject_as_username", "CN=ada,O=Works")]
)
def test_names_out_of_certificates(tmp_path: Path, authority: Authority, option: str, user: str) -> None:
    acl = tmp_path / "acl"
    acl.write_text(f"user {user}\ntopic readwrite mine/#\n")
    text = conf(authority, MUTUAL).replace("true", "false", 1) + f"{option} true\nacl_file {acl}\n"

    def talk(dial: Dial) -> Any:
        seen = []
        for name in ("ada", "eve"):
            client = dial(tls=context(authority, name))
            assert client.connect(name, username="somebody", password=b"x").reason_code == 0
            seen.append(echo(client, "mine/a"))
            client.disconnect()
        return seen

    assert beside(tmp_path, text, talk) == [["00", "mine/a"], ["00"]]


def test_a_certificate_without_a_name(tmp_path: Path, authority: Authority) -> None:
    text = conf(authority, MUTUAL) + "use_identity_as_username true\n"
    assert alone(tmp_path, text, lambda dial: dial.enter(tls=context(authority, "nameless"))) == CLOSED


def test_dates_that_do_not_matter(tmp_path: Path, authority: Authority) -> None:
    """An option of mosquitto 2.1."""

    def talk(dial: Dial) -> Any:
        return dial.enter(tls=context(authority, "old")), dial.enter(tls=context(authority, "mallory"))

    text = conf(authority, MUTUAL) + "disable_client_cert_date_checks true\n"
    assert alone(tmp_path, text, talk) == (0, CLOSED)
