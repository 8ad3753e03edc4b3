"""`swellmq bench profile`: how it reads perf, and a run where perf is allowed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from bench_helpers import bench

from swellmq.bench import profile

REPORT = """# Overhead|Shared Object|Symbol
  50.00%  |[kernel.kallsyms]                             |[k] tcp_sendmsg                        |-      -
  20.00%  |swellmq__mypyc.cpython-311-x86_64-linux-gnu.so|[.] CPyDef_runs___forward_run  |-      -
  10.00%  |swellmq__mypyc.cpython-311-x86_64-linux-gnu.so|[.] packets___Publish_dealloc |-      -
   8.00%  |swellmq__mypyc.cpython-311-x86_64-linux-gnu.so|[.] CPyBytes_GetSlice |-      -
   7.00%  |libpython3.11.so.1.0                          |[.] _Py_dict_lookup |-      -
   5.00%  |libc.so.6                                     |[.] __memmove_evex |-      -
"""


def test_a_report_is_read_and_grouped() -> None:
    samples = profile.parse(REPORT)
    assert profile.grouped(samples) == {
        "kernel": 0.5,
        "runs.py": 0.2,
        "making and freeing objects": 0.1,
        "mypyc's run time": 0.08,
        "CPython": 0.07,
        "C library": 0.05,
    }
    assert profile.functions(samples)[0] == (0.5, "tcp_sendmsg (kernel)")


def test_the_tables_tell_microseconds() -> None:
    samples = profile.parse(REPORT)
    functions = [{"share": share, "function": name} for share, name in profile.functions(samples)]
    result = {"broker": "x", "cpu_us_per_message": 2.0, "groups": profile.grouped(samples), "functions": functions}
    lines = profile.profile_table(result, "pair")
    assert lines[:3] == ["| pair, x: 2 µs | share | µs each |", "| --- | --- | --- |", "| kernel | 50.0% | 1.000 |"]
    assert "| CPyDef_runs___forward_run (runs.py) | 20.0% | 0.400 |" in lines


@pytest.mark.slow
def test_the_smallest_profile(tmp_path: Path) -> None:
    if shutil.which("perf") is None:
        pytest.skip("perf is not installed")
    done = bench("profile", "--scenario", "pair", "--seconds", "1", "--json", str(tmp_path / "json"))
    if "perf saw nothing" in done.stderr:
        pytest.skip(f"perf may not watch here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    [result] = json.loads((tmp_path / "json").read_text())["results"]
    assert "kernel" in result["groups"]
    assert 0.9 < sum(result["groups"].values()) < 1.01
