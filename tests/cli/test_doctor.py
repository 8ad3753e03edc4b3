"""`swellmq doctor`: what it finds on machines of all kinds, and what it tells about each."""

from __future__ import annotations

from pathlib import Path

import pytest

from swellmq.cli.costs import Costs
from swellmq.cli.doctor import BAD, GOOD, NOTE, Finding, examine, report
from swellmq.cli.machine import UNLIMITED, Machine
from swellmq.cli.main import main

COSTS = Costs()


def machine(**sysctls: tuple[int, ...]) -> Machine:
    """A machine with room for 100,000 connections, but for what is given with "_" in place of "."."""
    good = {
        "fs.nr_open": (1_048_576,),
        "fs.file-max": (1_048_576,),
        "fs.epoll.max_user_watches": (1_048_576,),
        "net.core.somaxconn": (4_096,),
        "net.ipv4.tcp_max_syn_backlog": (4_096,),
        "net.ipv4.tcp_mem": (250_000, 380_000, 570_000),
        "net.ipv4.ip_local_port_range": (1_024, 65_535),
    }
    known = {name.replace(".", "_").replace("-", "_"): name for name in good}
    changed = {known.get(name, name.replace("__", ".")): numbers for name, numbers in sysctls.items()}
    return Machine(1_048_576, 1_048_576, 16_000_000_000, 12_000_000_000, "madvise", good | changed)


def findings(machine: Machine, connections: int = 60_000, compiled: bool = True) -> dict[str, Finding]:
    """What is not well, by name."""
    return {
        finding.name: finding for finding in examine(machine, connections, COSTS, compiled) if finding.verdict != GOOD
    }


def test_a_machine_that_allows_it_all() -> None:
    assert findings(machine()) == {}
    assert all(not finding.remedy for finding in examine(machine(), 60_000, COSTS, True))


@pytest.mark.parametrize(
    ("name", "numbers", "remedy"),
    [
        ("fs.nr_open", (1_000,), "sysctl -w fs.nr_open=60128"),
        ("fs.file-max", (60_200,), "sysctl -w fs.file-max=66140"),
        ("fs.epoll.max_user_watches", (50_000,), "sysctl -w fs.epoll.max_user_watches=66140"),
        ("net.core.somaxconn", (128,), "sysctl -w net.core.somaxconn=4096"),
        ("net.ipv4.tcp_max_syn_backlog", (1_024,), "sysctl -w net.ipv4.tcp_max_syn_backlog=4096"),
        ("net.ipv4.tcp_mem", (10_000, 20_000, 30_000), 'sysctl -w net.ipv4.tcp_mem="30000 45000 60000"'),
        ("net.netfilter.nf_conntrack_max", (65_536,), "sysctl -w net.netfilter.nf_conntrack_max=66140"),
    ],
)
def test_a_sysctl_that_is_too_low(name: str, numbers: tuple[int, ...], remedy: str) -> None:
    sick = machine()
    sick.sysctls[name] = numbers
    found = findings(sick)
    assert list(found) == [name]
    assert found[name].verdict == BAD
    assert remedy in found[name].remedy


def test_open_files() -> None:
    sick = machine()
    sick.descriptors_hard = 20_000
    found = findings(sick)["open files (ulimit -Hn)"]
    assert (found.verdict, found.found, found.wanted) == (BAD, "20000", "60128")
    assert "LimitNOFILE=60128" in found.remedy
    sick.descriptors_hard = UNLIMITED
    assert findings(sick) == {}


def test_memory() -> None:
    small = machine()
    small.memory_bytes = small.memory_available_bytes = 200_000_000
    assert findings(small)["memory"].verdict == BAD
    crowded = machine()
    crowded.memory_available_bytes = 200_000_000
    assert findings(crowded)["memory"].verdict == NOTE
    unknown = machine()
    unknown.memory_bytes = unknown.memory_available_bytes = 0
    assert findings(unknown) == {}


def test_what_only_deserves_a_note() -> None:
    odd = machine(net_ipv4_ip_local_port_range=(32_768, 60_999))
    odd.huge_pages = "always"
    found = findings(odd, compiled=False)
    assert {name: finding.verdict for name, finding in found.items()} == {
        "build": NOTE,
        "net.ipv4.ip_local_port_range": NOTE,
        "transparent huge pages": NOTE,
    }
    assert "28232 connections" in found["net.ipv4.ip_local_port_range"].remedy


def test_the_remedy_stands_under_its_line() -> None:
    sick = machine(net_core_somaxconn=(128,))
    lines = report(examine(sick, 60_000, COSTS, True))
    at = next(number for number, line in enumerate(lines) if "somaxconn" in line)
    assert lines[at].startswith("BAD   net.core.somaxconn")
    assert lines[at].endswith("wanted: 4096")
    assert lines[at + 1].startswith("      fewer arrivals may wait")


def test_the_facts_of_a_machine(tmp_path: Path) -> None:
    for name, text in {
        "proc/meminfo": "MemTotal:       16000 kB\nMemFree: 1 kB\nMemAvailable:    9000 kB\n",
        "proc/sys/fs/nr_open": "1048576\n",
        "proc/sys/net/ipv4/tcp_mem": "287898\t383867\t575796\n",
        "proc/sys/net/core/somaxconn": "many\n",
        "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    found = Machine.read(f"{tmp_path}/")
    assert (found.memory_bytes, found.memory_available_bytes) == (16_384_000, 9_216_000)
    assert found.huge_pages == "madvise"
    assert found.sysctls == {"fs.nr_open": (1_048_576,), "net.ipv4.tcp_mem": (287_898, 383_867, 575_796)}
    assert 0 < found.descriptors_soft <= found.descriptors_hard


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["doctor", "--connections", "10000000"]) == 1, "no machine of ours has room for so many"
    out = capsys.readouterr().out
    assert out.startswith("for max_connections = 10000000")
    assert "BAD" in out
    with pytest.raises(SystemExit):
        main(["doctor", "--connections", "0"])
    assert "argument --connections: '0' is not a whole number from 1 to" in capsys.readouterr().err
    code = main(["doctor", "--connections", "10"])
    assert ("BAD" in capsys.readouterr().out) == bool(code)
