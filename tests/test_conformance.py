"""`tools/conformance.py`: which marks it finds and where, what it counts and refuses; and the marks of this tree."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
TITLES = {"5.0": {"1.1-1": "1.1 First", "1.1-2": "1.1 First", "2.1-1": "2.1 Second"}, "3.1.1": {"1.1-1": "1.1 First"}}
CLAUSES = """
["5.0"]
"1.1-1" = { binds = "server", short = "one" }
"1.1-2" = { binds = "both", short = "two" }
"2.1-1" = { binds = "client", short = "three" }
["3.1.1"]
"1.1-1" = { same_as = ["1.1-1", "1.1-2"], binds = "server", short = "both at once" }
"""
SUMMARY = "clauses: {} of 3 server clauses enforced and tested (3.1.1: {} of 1, 5.0: {} of 2)"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("conformance", ROOT / "tools" / "conformance.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["conformance"] = module
    spec.loader.exec_module(module)
    return module


conformance = _load()


def mark(label: str, prefix: str = "MQTT") -> str:
    """A mark, put together so that this file itself has none."""
    return f"[{prefix}-{label}]"


class Tree:
    """A small project with its clauses, and the tool run on it."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.capsys = capsys
        self.clauses = CLAUSES
        self.put("docs/README.md", "")

    def put(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")

    def put_all(self) -> None:
        """Everything marked that has to be."""
        self.put("src/swellmq/a.py", f"def one():\n    return 1  # {mark('1.1-1')} {mark('1.1-2')}\n")
        self.put("tests/test_a.py", f"def test_one():\n    '''{mark('1.1-1')} {mark('1.1-2')}'''\n")

    def run(self, *arguments: str) -> tuple[int, str, list[str]]:
        """The exit code, what was printed, and the problems."""
        self.put("clauses.toml", self.clauses)
        code = conformance.main(list(arguments), self.root, self.root / "clauses.toml")
        out, err = self.capsys.readouterr()
        return code, out, err.splitlines()

    def table(self) -> str:
        return (self.root / "docs/CONFORMANCE.md").read_text("utf-8")

    def row(self, label: str) -> list[str]:
        """The cells of the first clause of this label."""
        line = next(line for line in self.table().splitlines() if line.startswith(f"| {label} |"))
        return [cell.strip() for cell in line.strip("|").split(" | ")]


@pytest.fixture
def tree(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setattr(conformance, "published", lambda: TITLES)
    return Tree(tmp_path, capsys)


def test_all_marked(tree: Tree) -> None:
    tree.put_all()
    assert tree.run() == (0, SUMMARY.format(3, 1, 2) + "\n", [])
    assert "## MQTT 5.0" in tree.table() and "### 2.1 Second" in tree.table()
    assert tree.row("1.1-1") == [
        "1.1-1",
        "one",
        "server",
        "[a.py: one](../src/swellmq/a.py)",
        "[test_a.py::test_one](../tests/test_a.py)",
    ]
    assert tree.row("2.1-1")[2:] == ["client", "the client's part", "the client's part"]
    assert "| both at once | server | as 5.0 1.1-1, 1.1-2 | as 5.0 1.1-1, 1.1-2 |" in tree.table()


def test_what_binds_the_server_needs_code_and_test(tree: Tree) -> None:
    tree.put("src/swellmq/a.py", f"x = 1  # {mark('1.1-1')}\n")
    tree.put("tests/test_a.py", f"x = 1  # {mark('1.1-2')}\n")
    code, out, problems = tree.run()
    assert code == 1
    assert problems == [
        f"{mark('1.1-1')} has no mark in a test: one",
        f"{mark('1.1-2')} has no mark in code: two",
        f"{mark('1.1-1', 'MQTT311')} has no mark in code: both at once",
        f"{mark('1.1-1', 'MQTT311')} has no mark in a test: both at once",
    ]
    assert out.splitlines()[-1] == SUMMARY.format(0, 0, 0)
    assert tree.row("1.1-1")[4] == "**missing**"


def test_an_own_mark_of_3_1_1_counts_without_those_of_5_0(tree: Tree) -> None:
    own = mark("1.1-1", "MQTT311")
    tree.put("src/swellmq/a.py", f"x = 1  # {own}\n")
    tree.put("tests/test_a.py", f"x = 1  # {own}\n")
    assert tree.run()[1].splitlines()[-1] == SUMMARY.format(1, 1, 0)


@pytest.mark.parametrize(
    "unknown", [mark("9.9-9"), mark("2.1-1", "MQTT311"), mark("1.1-1", "MQTT5"), mark("1.1-1 "), mark("...")]
)
@pytest.mark.parametrize("path", ["src/swellmq/b.py", "tests/b/test_b.py"])
def test_a_mark_that_names_no_clause(tree: Tree, path: str, unknown: str) -> None:
    tree.put_all()
    tree.put(path, f"x = 1\ny = 2  # {unknown}\n")
    code, _out, problems = tree.run()
    assert code == 1 and problems == [f"{path}:2: {unknown} names no clause"]


def test_a_departure_needs_no_code_and_is_not_counted(tree: Tree) -> None:
    tree.put_all()
    tree.put(
        "src/swellmq/a.py",
        f"def one():\n"
        f"    # Departs from {mark('1.1-2')}: because it would take\n"
        f"    # two lines to say.\n"
        f"    # Another subject.\n"
        f"    return 1  # {mark('1.1-1')}\n",
    )
    code, out, problems = tree.run()
    assert (code, problems) == (0, [])
    assert out.splitlines()[-1] == SUMMARY.format(1, 0, 1)  # the clause of 3.1.1 that repeats it departs too
    why = "departs from it in [a.py: one](../src/swellmq/a.py): because it would take two lines to say"
    assert tree.row("1.1-2")[3] == why


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("'''{}'''\nx = 1\n", ""),
        ("CASES = [\n    1,  # {}\n]\n", "CASES"),
        ("CASES: list[int] = [\n    1,  # {}\n]\n", "CASES"),
        ("# {}\ndef f():\n    return 1\n", "f"),
        ("@decorated(1)  # {}\nasync def f():\n    return 1\n", "f"),
        ("class C:\n    def f(self):\n        return 1  # {}\n", "C.f"),
        ("class C:\n    '''{}'''\n", "C"),
        ("def f():\n    return 1\n    # {}\n\ndef g():\n    return 2\n", "f"),
        ("def f():\n    def g():\n        return 1  # {}\n    return g\n", "f"),
    ],
)
def test_where_a_mark_stands(tree: Tree, text: str, name: str) -> None:
    tree.put_all()
    tree.put("src/swellmq/b/c.py", text.format(mark("2.1-1")))
    tree.run()
    assert tree.row("2.1-1")[3] == f"[b/c.py{': ' + name if name else ''}](../src/swellmq/b/c.py)"


def test_moving_code_within_a_function_changes_nothing(tree: Tree) -> None:
    tree.put_all()
    tree.run()
    before = tree.table()
    moved = (tree.root / "src/swellmq/a.py").read_text("utf-8").replace("def one", "import ast\n\ndef one")
    tree.put("src/swellmq/a.py", moved)
    assert tree.run("--check")[0] == 0
    assert tree.table() == before


def test_check_writes_nothing(tree: Tree) -> None:
    tree.put_all()
    late = ["docs/CONFORMANCE.md is out of date: run `make conformance`"]
    code, _out, problems = tree.run("--check")
    assert code == 1 and problems == late and not (tree.root / "docs/CONFORMANCE.md").exists()
    assert tree.run()[0] == 0
    assert tree.run("--check") == (0, SUMMARY.format(3, 1, 2) + "\n", [])
    tree.put("docs/CONFORMANCE.md", tree.table() + "by hand\n")
    assert tree.run("--check")[2] == late


def test_missing_is_grouped_and_names_no_repetition(tree: Tree) -> None:
    tree.put("src/swellmq/a.py", f"x = 1  # {mark('1.1-1')}\n")
    code, out, problems = tree.run("--missing")
    assert (code, problems) == (0, []) and not (tree.root / "docs/CONFORMANCE.md").exists()
    assert [line.split() for line in out.splitlines()[:-1]] == [
        ["codec:"],
        [mark("1.1-1"), "test", "one"],
        [mark("1.1-2"), "code,", "test", "two"],
    ]


@pytest.mark.parametrize(
    ("label", "family"),
    [
        ("1.5.4-1", "codec"),
        ("3.1.2-7", "broker/session.py and will.py"),
        ("3.1.2-3", "broker/connect.py and codec"),
        ("3.1.2.7", "broker/connect.py and codec"),
        ("3-8.3-4", "broker/subscribe.py and codec"),
        ("3.10.4-1", "broker/subscribe.py and codec"),
        ("4.8.0-1", "broker/broker.py"),
        ("4.8.2-1", "broker/topics.py, publish.py and codec"),
        ("4.13.1-1", "broker/broker.py"),
        ("5.1-1", "elsewhere"),
    ],
)
def test_families(label: str, family: str) -> None:
    assert conformance._family(label) == family


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"2.1-1" = { binds = "client", short = "three" }', "", "clause 2.1-1 of 5.0 is missing"),
        ('"2.1-1"', '"2.1-2"', "5.0 has no clause 2.1-2"),
        ('"client"', '"nobody"', "clause 2.1-1 of 5.0 lacks `binds` or `short`"),
        (', short = "three"', "", "clause 2.1-1 of 5.0 lacks `binds` or `short`"),
        ('"1.1-2"]', '"1.1-3"]', "1.1-1 of 3.1.1 is said to repeat 1.1-3, which is none"),
    ],
)
def test_a_list_of_clauses_with_a_fault(tree: Tree, old: str, new: str, problem: str) -> None:
    tree.put_all()
    assert CLAUSES.count(old) == 1
    tree.clauses = CLAUSES.replace(old, new)
    code, _out, problems = tree.run()
    assert code == 1 and f"clauses.toml: {problem}" in problems


def test_a_single_repetition_inherits(tree: Tree) -> None:
    tree.put_all()
    tree.clauses = CLAUSES.replace('["1.1-1", "1.1-2"], binds = "server", short = "both at once"', '["1.1-2"]')
    assert tree.run()[0] == 0
    assert "| 1.1-1 | two | both | as 5.0 1.1-2 | as 5.0 1.1-2 |" in tree.table()


@pytest.fixture(scope="module")
def clauses() -> Any:
    """The clauses of the specifications, as this tree has them."""
    found, problems = conformance.read_clauses(conformance.CLAUSES.read_text("utf-8"), conformance.published())
    assert problems == []
    return found


def test_every_published_clause_is_listed(clauses: Any) -> None:
    assert {version: len(of_version) for version, of_version in clauses.items()} == {"5.0": 252, "3.1.1": 141}
    assert all(len(clause.short) <= 110 for clause in conformance.everything(clauses))


def test_what_is_the_same_binds_the_same(clauses: Any) -> None:
    for clause in conformance.everything(clauses):
        assert all(
            same.needed == clause.needed and not same.same_as for same in clause.same_as if clause.version != "5.0"
        )


def test_every_mark_of_this_tree_names_a_clause(clauses: Any) -> None:
    assert conformance.read_marks(ROOT, clauses) == []


def test_the_broker_opens_no_mqtt_connection() -> None:  # [MQTT311-7.0.0-1]
    """It would have to be a conformant client as well. The probe is for a Unix socket that nobody listens on."""
    package = ROOT / "src" / "swellmq"
    calling = {
        path.relative_to(package).as_posix()
        for path in (*package.glob("*.py"), *package.glob("net/*.py"), *package.glob("broker/*.py"))
        if any(call in path.read_text("utf-8") for call in ("sock.connect(", "probe.connect(", "create_connection("))
    }
    assert calling <= {"net/listener.py"}
