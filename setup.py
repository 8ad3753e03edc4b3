"""Builds swellmq: compiled by mypyc where a C compiler works, and interpreted, from the same sources, where none does.

What the package is called and needs stands in pyproject.toml; docs/decisions/0001-mypyc.md says why it is built so.
The environment can say:

    SWELLMQ_INTERPRETED=1   do not compile
    SWELLMQ_OPT=0..3        how hard the C compiler optimises: 2 by default, 1 where only correctness counts
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import setuptools
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError

# What runs interpreted in every build, and why. All else under src/swellmq is compiled.
NOT_COMPILED: Final = {
    "*__init__.py": "re-exports and nothing else",
    "__main__.py": "python -m wants a code object",
    "admin/*": "serves operators, and carries no message; its libraries are no compiled code either",
    "access/acl*.py": "read once, at start or at a reload",
    "access/build.py": "runs once, at start",
    "access/files.py": "runs at start or at a reload",
    "access/door.py": "runs once for each login, most of whose time is its hash",
    "access/guard.py": "runs once for each connection, where there is a bound or a ban",
    "access/hashes.py": "calls C; what is compiled costs memory at every start, used or not",
    "access/password_file.py": "read once, at start or at a reload",
    "access/provider.py": "runs once for each login",
    "access/scram.py": "runs once for each login, most of whose time is scramp's",
    "access/workers.py": "threads that wait for hashes and servers",
    "access/http_hook.py": "waits for another server; its messages are classes of msgspec",
    "access/tokens.py": "waits for another server, or for cryptography; PyJWT is no compiled code either",
    "broker/life.py": "texts for people, a bounded number a second",
    "command.py": "starts and ends the process",
    "codec/reasons.py": "a table of texts for people",
    "codec/words.py": "texts for people",
    "broker/sys_topics.py": "publishes some values every 10 s",
    "embed.py": "hosts a broker in asyncio or in a thread, and carries no packet",
    "listener_settings.py": "checked once, at start or at a reload",
    "log_file.py": "a subclass of logging's; nothing is logged per packet",
    "logs.py": "subclasses of logging.Formatter; nothing is logged per packet",
    "observe/busiest.py": "runs where somebody asks; its descriptions stand in the OpenAPI document",
    "observe/history.py": "a row once a second, where somebody looks",
    "observe/names.py": "tables for documents and for those who ask",
    "observe/receipts.py": "walks where somebody asks",
    "options.py": "tables of settings, read once at start",
    "reload.py": "runs when an operator asks for it",
    "settings.py": "gathers the settings, once at start",
    "otel.py": "calls the SDK of OpenTelemetry, for a bounded number of messages",
    "process.py": "the collector, ctypes and resource, at start and after a crowd",
    "trace.py": "texts for people, of clients that are traced",
    "systemd.py": "speaks with whoever started the process, now and then",
    "server.py": "joins the parts, with signals and closures, and carries no packet",
    "tls_settings.py": "checked once, at start or at a reload",
    "net/layers.py": "joins the layers of a listener, at start and at reload",
    "net/tls_context.py": "reads certificates, at start and at reload",
    "store/errors.py": "one exception",
    "store/folding.py": "starts another process now and then",
    "store/manage.py": "the commands of `swellmq data`",
    "store/schema.py": "text in SQL",
    "bench/*": "measures from outside; its inner loops are slices and counts of bytes, which CPython does in C",
    "mosquitto/*": "a table and a reader of configuration files, used once at start",
    "cli/*": "argparse and late imports: runs once, at start",
}

# With -O3: the bulk of messages passes through these, and 8 % of QoS 1 depends on it.
FAST: Final = ("broker/acks.py", "broker/broker.py", "broker/runs.py", "connection.py", "net/loop.py", "net/output.py")

# With -O2: what else a message costs something in. All others get -Os, for each page of code counts in memory at start.
MESSAGES: Final = (
    "broker/inbound.py",
    "broker/publish.py",
    "broker/session.py",
    "broker/topics.py",
    "codec/*",
    "net/mount.py",
    "net/websocket.py",
    "store/commit.py",
    "store/records.py",
)

# Linked last, side by side: what most brokers never call. What lies between functions that are called is read into
# memory with them, for the system reads 64 KB at once.
LATE: Final = (
    "access/*",
    "codec/websocket.py",
    "net/credentials.py",
    "net/mount.py",
    "net/proxy.py",
    "net/stacked.py",
    "net/tls*.py",
    "net/websocket.py",
    "store/*",
)

# Functions in the C that mypyc writes for which size counts in every module: where each of them begins, and why.
SELDOM: Final = {
    r"^(?=char CPyDef_\w+____top_level__\(void\) \{$)": "the body of a module, which runs once",
    r"^(?= *PyObject \*CPyPy_\w+\([^;]*\) \{$)": "by which interpreted code calls a compiled function",
    r"^(?=static (?:PyObject \*|int)\n\w+_[gs]et_)": "by which interpreted code gets or sets an attribute",
}

MYPYC: Final = "mypy[mypyc]>=2.4,<2.5"  # what mypyc accepts and how fast it is changes with every minor release
SOURCES: Final = Path("src/swellmq")
C_FOLDER: Final = Path("build/c")
OBJECTS: Final = Path("build/objects")  # compiled C files, named by the hash of all that went into them
OBJECTS_KEPT_S: Final = 30 * 86_400  # one that no build has used for so long is deleted
JOBS: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
OPT: Final = os.environ.get("SWELLMQ_OPT", "2")


def say(line: str) -> None:
    print("swellmq: " + line, flush=True)


def why_interpreted() -> str:
    """Return why nothing can be compiled here and what would change that, or "" where it can."""
    if os.environ.get("SWELLMQ_INTERPRETED", "") not in ("", "0"):
        return "SWELLMQ_INTERPRETED is set. For the compiled one unset it"
    if sys.implementation.name != "cpython":
        return "this is " + sys.implementation.name + ". For the compiled one use CPython"
    if not compiler_works():
        return (
            "no C compiler works here. For the compiled one, several times as fast, install a C compiler"
            " and the headers of Python (Debian: apt-get install gcc python3-dev)"
        )
    return ""


def new_compiler() -> Any:
    """The compiler object of setuptools, with CC and CFLAGS of the environment taken in."""
    from distutils import ccompiler  # setuptools' own, where Python has none any more
    from distutils import sysconfig as compiler_config

    compiler = ccompiler.new_compiler()
    compiler_config.customize_compiler(compiler)
    return compiler


def compiler_works() -> bool:
    """Compile one line, which needs the headers of Python too."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        source = Path(folder, "probe.c")
        source.write_text("#include <Python.h>\nint probe(void) { return Py_IsInitialized(); }\n")
        include_dirs = [sysconfig.get_path("include"), sysconfig.get_path("platinclude")]
        try:
            new_compiler().compile([str(source)], output_dir=folder, include_dirs=include_dirs)
        except (CCompilerError, ExecError, PlatformError):
            return False
    return True


@contextmanager
def quiet() -> Iterator[None]:
    """Send what a child process says to nowhere: a probe that fails is no news."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for fd in (nowhere, *kept):
            os.close(fd)


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def compiled_sources() -> list[str]:
    names = sorted(path.relative_to(SOURCES).as_posix() for path in SOURCES.rglob("*.py"))
    return [str(SOURCES / name) for name in names if not matches(name, NOT_COMPILED)]


def write_c() -> list[Any]:
    """Turn the sources into C, one file a module; return the extension modules to be made of it."""
    from mypyc.build import mypycify  # a build requirement, installed only where it is wanted

    sources = compiled_sources()
    say(f"writing C for {len(sources)} modules")
    started = time.monotonic()
    # The types are checked by `make check` with every library at hand; here those of the extras are missing. What isn't
    # compiled is read for its types only: classes that derive from a library's (msgspec.Struct) look wrong without it.
    extensions: list[Any] = mypycify(
        ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent", *sources],
        opt_level=OPT,
        debug_level="0",
        multi_file=True,
        group_name="swellmq",  # one for all: objects of classes that another library may extend are 8 bytes larger
        target_dir=str(C_FOLDER),
    )
    seldom = re.compile("|".join(SELDOM), re.MULTILINE)
    for path in C_FOLDER.glob("__native_swellmq_*.c"):
        path.write_text(seldom.sub('__attribute__((optimize("Os"))) ', path.read_text()))
    for extension in extensions:
        # What a compiler thinks of generated code is no news to who installs, and no reason to stop (-Werror).
        flags = [flag for flag in extension.extra_compile_args if not flag.startswith("-W")]
        # Hidden: calls between modules skip the symbol table.
        extension.extra_compile_args = [*flags, "-w", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections"]
        if sys.platform == "linux":
            # Each makes the broker smaller at start: by 0.2 MB (C throws nothing), 13 KB a module, and 0.2 MB.
            extension.extra_compile_args.append("-fno-asynchronous-unwind-tables")
            extension.extra_link_args = ["-Wl,-z,noseparate-code", "-Wl,--gc-sections"]
            if loads_packed_relocations():
                extension.extra_link_args.append("-Wl,-z,pack-relative-relocs")
    say(f"C written in {time.monotonic() - started:.0f} s; compiling it with -O{OPT}, {JOBS} at a time")
    return extensions


def loads_packed_relocations() -> bool:
    """Whether the C library loads a shared library whose relocations are packed: glibc 2.36 was the first."""
    name, version = platform.libc_ver()
    return name == "glibc" and [int(number) for number in version.split(".")[:2]] >= [2, 36]


class ObjectCache:
    """Compiles C files side by side, and takes those it has compiled before from `OBJECTS`."""

    def __init__(self, compiler: Any, files: int) -> None:
        self.compile_one = compiler.compile
        self.object_filenames = compiler.object_filenames
        self.pool = ThreadPoolExecutor(JOBS)
        self.files = files
        self.files_done = 0
        self.said_at = time.monotonic()
        version = subprocess.run([compiler.compiler[0], "--version"], capture_output=True, check=False).stdout
        # The generated headers stand for those of mypyc too, which change with its version only.
        headers = b"".join(path.read_bytes() for path in sorted(C_FOLDER.rglob("*.h")))
        mypyc = b"".join(path.read_bytes() for path in sorted(Path(mypyc_headers()).glob("*.h")))
        about = (compiler.compiler_so, sys.version, sysconfig.get_config_var("SOABI"))
        self.common = hashlib.sha256(repr(about).encode() + version + headers + mypyc).digest()

    def compile(self, sources: list[str], output_dir: str = "", **options: Any) -> list[str]:
        """Stand in for `compile` of the compiler object."""
        objects: list[str] = self.object_filenames(sources, output_dir=output_dir)
        # The largest first: otherwise it may start last, and the other cores wait for it.
        pairs = sorted(zip(sources, objects, strict=True), key=lambda pair: -os.path.getsize(pair[0]))
        try:
            for done in [self.pool.submit(self.make_object, *pair, output_dir, options) for pair in pairs]:
                done.result()
        except BaseException:
            self.pool.shutdown(cancel_futures=True)  # one error is enough to read
            raise
        return sorted(objects, key=lambda target: matches(module(target), LATE))  # they are linked in this order

    def make_object(self, source: str, target: str, output_dir: str, options: dict[str, Any]) -> None:
        if OPT == "2":
            name = module(source)
            mypycs = not (SOURCES / name).is_file()  # its run time
            level = "-O3" if matches(name, FAST) else "-O2" if mypycs or matches(name, MESSAGES) else "-Os"
            options = {**options, "extra_postargs": [*options.get("extra_postargs", []), level]}  # the last one counts
        flags = repr((options.get("macros"), options.get("extra_postargs"), options.get("debug")))
        key = hashlib.sha256(self.common + flags.encode() + Path(source).read_bytes()).hexdigest()
        kept = OBJECTS / (key + ".o")
        if kept.exists():
            os.utime(kept)
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(kept, target)
        else:
            self.compile_one([source], output_dir=output_dir, **options)
            unfinished = kept.with_suffix("." + str(os.getpid()))
            shutil.copyfile(target, unfinished)
            unfinished.replace(kept)
        self.files_done += 1
        if time.monotonic() - self.said_at >= 2 or self.files_done == self.files:
            self.said_at = time.monotonic()
            say(f"{self.files_done} of {self.files} C files compiled")


def module(source: str) -> str:
    """The module that a C or object file of mypyc comes from, as it is called in the lists above."""
    return Path(source).stem.removeprefix("__native_swellmq___").replace("___", "/") + ".py"


def mypyc_headers() -> str:
    from mypyc.build import include_dir

    return include_dir()


class BuildCompiled(build_ext):
    """Writes the C only when it is really to be compiled: setup.py also runs where mypyc is not installed yet."""

    def run(self) -> None:
        if self.editable_mode:
            say("an editable install runs interpreted, from src")
            return
        self.distribution.ext_modules = write_c()
        self.initialize_options()
        self.finalize_options()
        super().run()

    def build_extensions(self) -> None:
        OBJECTS.mkdir(parents=True, exist_ok=True)
        cache = ObjectCache(self.compiler, sum(len(extension.sources) for extension in self.extensions))
        self.compiler.compile = cache.compile
        self.parallel = JOBS
        super().build_extensions()
        oldest = time.time() - OBJECTS_KEPT_S
        for path in OBJECTS.iterdir():
            if path.stat().st_mtime < oldest:
                path.unlink()


class Build(build):
    """Starts from nothing, so that no module that was deleted or compiled otherwise gets into a wheel."""

    def run(self) -> None:
        shutil.rmtree(self.build_lib, ignore_errors=True)
        if WHY_INTERPRETED:
            say(f"INTERPRETED, because {WHY_INTERPRETED}, and install again.")
        super().run()


class Distribution(setuptools.Distribution):
    """Knows before any C is written that there will be some: the name of the wheel depends on it."""

    def has_ext_modules(self) -> bool:
        return not WHY_INTERPRETED


WHY_INTERPRETED: Final = why_interpreted()

setuptools.setup(
    distclass=Distribution,
    cmdclass={"build": Build, "build_ext": BuildCompiled},
    # Read by pip as one more build requirement (PEP 517), so that nobody who can't compile downloads a compiler.
    setup_requires=[] if WHY_INTERPRETED else [MYPYC],
)
