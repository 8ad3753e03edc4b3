"""`swellmq plan`: what so many connections need, and the figures that it rests on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from swellmq.cli import costs as costs_module
from swellmq.cli.costs import Costs, load, save
from swellmq.cli.main import main
from swellmq.cli.measure import slab_bytes
from swellmq.cli.plan import Need, memory_lines, pool_lines, system_lines
from swellmq.settings import Settings

ROUND = Costs("a test", 10_000_000, 500, 300, 400, 15_000, 4_000, 1_000, 50_000)


def test_memory_is_the_sum_of_its_parts() -> None:
    need = Need.of(ROUND, 100_000, 2, 1_000, True)
    assert need.broker_bytes == 10_000_000 + 100_000 * (500 + 2 * 300 + 15_000) + 1_000 * 400
    assert need.kernel_bytes == 400_000_000
    assert memory_lines(need) == [
        "100000 connections",
        "",
        "Memory",
        "  the process at start                   10.0 MB",
        "  connections with their sessions        50.0 MB   100000 of 500 bytes",
        "  subscriptions                          60.0 MB   200000 of 300 bytes",
        "  retained messages of 64 bytes           0.4 MB   1000 of 400 bytes",
        "  TLS                                    1.50 GB   100000 of 15000 bytes",
        "  the broker in all                      1.62 GB",
        "  the kernel, for the sockets           400.0 MB   4000 bytes each",
        "  both                                   2.02 GB",
        "  as the design note expected            1.80 GB   18000 bytes each",
        "  figures: a test",
    ]


def test_the_steps_of_the_pool_come_with_their_moments() -> None:
    need = Need.of(ROUND, 2_000)
    assert pool_lines(need, Settings(), 100) == [
        "",
        "Pool, at 100 arrivals per second",
        "  1024 objects at start",
        "  1024 -> 1536 at 819 in use, after 8.2 s; 0.5 ms of work",
        "  1536 -> 2304 at 1228 in use, after 12.3 s; 0.8 ms of work",
        "  2304 -> 3456 at 1843 in use, after 18.4 s; 1.2 ms of work",
        "  all are there after 20.0 s",
    ]
    lines = pool_lines(Need.of(ROUND, 1_000_000), Settings(), 100_000)
    assert lines[-3:] == [
        "  900000 more objects are made on demand",
        "  all are there after 10.0 s",
        "  one core takes about 50000 arrivals per second: 20.0 s at the least",
    ]


def test_limits_of_the_system() -> None:
    lines = system_lines(Need.of(ROUND, 100_000))
    assert lines[2:] == [
        "  open files (ulimit -n, LimitNOFILE)     100128",
        "  fs.nr_open                              100128",
        "  fs.file-max                             110140",
        "  fs.epoll.max_user_watches               110140",
        "  net.core.somaxconn                        4096",
        "  net.ipv4.tcp_max_syn_backlog              4096",
        "  net.ipv4.tcp_mem                        100000   pages, its last number",
        "  net.netfilter.nf_conntrack_max          110140   where connections are tracked (a firewall, NAT)",
        "  clients on one machine, as in a load test: 2 addresses, and",
        '  net.ipv4.ip_local_port_range="1024 65535" there, which gives each of them 64512 ports',
    ]


def test_nothing_that_is_said_of_a_small_broker_lowers_a_limit() -> None:
    lines = system_lines(Need.of(ROUND, 10))
    assert lines[1].startswith("System, at least; `swellmq doctor --connections 10` says")
    assert not any("sysctl -w" in line or "ulimit -n 1" in line for line in lines)
    assert not any("clients on one machine" in line for line in lines)


@pytest.mark.parametrize("words", [["--connections", "1e5"], ["--rate", "x"], ["--subscriptions", "-1"]])
def test_numbers_that_are_none(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", *words])
    assert f"argument {words[0]}: '{words[1]}' is not a whole number from 0 to " in capsys.readouterr().err


def test_measured_costs_are_kept_and_found(tmp_path: Path) -> None:
    file = costs_module.path({"XDG_STATE_HOME": str(tmp_path)})
    assert file == f"{tmp_path}/swellmq/costs.json"
    assert load(file) == Costs(), "the shipped ones"
    save(ROUND, file)
    assert load(file) == ROUND
    assert costs_module.path({"HOME": "/home/a"}) == "/home/a/.local/state/swellmq/costs.json"


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps(asdict(ROUND) | {"tls_bytes": "many"})])
def test_a_file_that_is_none_of_ours_is_passed_over(text: str, tmp_path: Path) -> None:
    file = tmp_path / "costs.json"
    file.write_text(text)
    assert load(str(file)) == Costs()


def test_slab_objects(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    slabs = tmp_path / "proc" / "slabinfo"
    names = ("TCP", "sock_inode_cache", "dentry", "filp", "eventpoll_epi")
    head = "slabinfo - version: 2.1\n# name  <active_objs> ...\n"
    slabs.write_text(head + "".join(f"{name} 10 20 1000 4 1 : tunables 0 0 0\n" for name in names))
    assert slab_bytes(f"{tmp_path}/") == 5 * 1024
    slabs.write_text(head + "TCP 10 20 1000 4 1 : tunables 0 0 0\n")
    assert slab_bytes(f"{tmp_path}/") == 0
    assert slab_bytes(f"{tmp_path}/nowhere/") == 0


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["plan", "--connections", "100000", "--subscriptions", "2", "--rate", "500"]) == 0
    out = capsys.readouterr().out
    assert "shipped with swellmq" in out
    assert "78732" not in out, "that is the preset medium"
    assert "59049 -> 88573 at 47239 in use, after 94.5 s" in out
    assert main(["plan", "--connections", "0"]) == 0


@pytest.mark.slow
def test_measuring(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["plan", "--connections", "1000", "--measure"]) == 0
    assert "figures: measured here on" in capsys.readouterr().out
    found = load(costs_module.path())
    assert 200 < found.connection_bytes < 3_000
    assert 100 < found.subscription_bytes < 3_000
    assert 100 < found.retained_bytes < 3_000
    assert 8_000_000 < found.start_bytes < 60_000_000
    assert found.connects_per_s > 1_000
    assert 0 < found.preheat_ns < 100_000
