"""`swellmq data WHAT DIR`: look at the data folder of a broker, check it, copy it, compact it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

EPILOG: Final = """\
  info DIR            what is in it
  check DIR           read everything, and say what is wrong
  backup DIR FILE     copy it into one file; a broker may be using it
  compact DIR         give unused space back; no broker may be using it
  export DIR [FILE]   write it as JSON lines; a broker may be using it
  import DIR FILE     read JSON lines into a new folder

A backup is restored by putting it into an empty folder as node-0/state.db.
"""
EXIT_FAULTS: Final = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Look after the data folder of a broker."
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("what", choices=("info", "check", "backup", "compact", "export", "import"))
    parser.add_argument("data", metavar="DIR", type=Path, help="as in `swellmq serve --data DIR`")
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help="to write or to read; - is the terminal")


def run(arguments: argparse.Namespace) -> int:
    """Exit codes: 0 done and well, 1 something is wrong, 2 bad arguments."""
    from swellmq.store.errors import StoreError

    if arguments.what in ("backup", "import") and arguments.file is None:
        print(f"swellmq: data {arguments.what}: give a FILE", file=sys.stderr)
        return 2
    try:
        return _run(arguments.what, arguments.data, arguments.file)
    except StoreError as error:
        print(f"swellmq: {error}", file=sys.stderr)
        return EXIT_FAULTS
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read has read enough
        return EXIT_FAULTS
    except OSError as error:
        print(f"swellmq: {error.filename or arguments.file or 'the output'}: {error.strerror}", file=sys.stderr)
        return EXIT_FAULTS


def _run(what: str, data: Path, file: Path | None) -> int:
    from swellmq.store import manage
    from swellmq.store.journal import open_private

    if what == "import":
        assert file is not None
        with file.open(encoding="utf-8") if str(file) != "-" else sys.stdin as lines:
            print(f"{manage.import_lines(data / 'node-0', lines, str(file))} rows")
        return 0
    folder = manage.node_folder(data)
    if what == "info":
        for name, value in manage.info(folder):
            print(f"{name:20}{value}")
    elif what == "check":
        faults = manage.check(folder)
        for fault in faults or ["nothing wrong"]:
            print(fault)
        return EXIT_FAULTS if faults else 0
    elif what == "backup":
        assert file is not None
        manage.backup(folder, file)
        print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
    elif what == "compact":
        before, after = manage.compact(folder)
        print(f"{before / 1e6:.1f} MB are {after / 1e6:.1f} MB now")
    elif file is None or str(file) == "-":
        manage.export(folder, sys.stdout)
    else:
        with open(file, "w", encoding="utf-8", opener=open_private) as out:
            rows = manage.export(folder, out)
        print(f"{rows} rows")
    return 0
