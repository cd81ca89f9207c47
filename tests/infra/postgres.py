"""A private PostgreSQL cluster on a loopback port, gone at the end of the run."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg2  # type: ignore[import-untyped]
import pytest

from tests.infra import run
from tests.infra.ports import free_ports

SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 200
fsync = off
full_page_writes = off
synchronous_commit = off
"""
"""Nothing here outlives the tests, so it need not reach the disk."""


class PostgreSQL:
    """A running cluster with one database, which each test takes emptied.

    PostgreSQL refuses to run as root, so root runs it as the user ``postgres``.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._password = secrets.token_urlsafe(12)
        self._port = free_ports(1)[0]
        self._url = f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/postgres"
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the cluster, start it and wait until it answers."""
        data, password = self._folder / "data", self._folder / "password"
        password.write_text(self._password)
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            for path in (self._folder, password):
                os.chown(path, account.pw_uid, account.pw_gid)
        options = ["--no-sync", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8"]
        subprocess.run(
            self._command("initdb", "-D", data, "-U", "postgres", f"--pwfile={password}", *options),
            check=True,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )
        with (data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS.format(port=self._port))
        with (self._folder / "log").open("wb") as log:
            # It ends with this process, even if that is killed.
            command = self._command("postgres", "-D", data, guard=True)
            self._server = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log)
        run.wait_until(self._answers, "PostgreSQL answers", timeout=30)

    def stop(self) -> None:
        """Stop at once; open connections are cut."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(timeout=20)

    def empty_database(self) -> str:
        """The URL of the one database, emptied. (Making one takes far longer than emptying it.)"""
        self._execute("DROP SCHEMA public CASCADE")
        self._execute("CREATE SCHEMA public")
        return self._url

    def _execute(self, statement: str) -> None:
        with contextlib.closing(psycopg2.connect(self._url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    def _answers(self) -> bool:
        assert self._server is not None
        if self._server.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended:\n{(self._folder / 'log').read_text()}")
        try:
            self._execute("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def _command(self, program: str, *arguments: object, guard: bool = False) -> list[str]:
        words = [str(self._programs / program), *map(str, arguments)]
        prefix = ["setpriv"]
        if os.geteuid() == 0:
            prefix += ["--reuid", "postgres", "--regid", "postgres", "--init-groups"]
        if guard:
            prefix += ["--pdeathsig", "QUIT"]
        return [*prefix, *words]


def _programs() -> Path | None:
    """The folder of the newest installed release, as Debian lays it out, or from PATH."""
    releases = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_release)
    found = str(releases[-1]) if releases else shutil.which("initdb")
    return Path(found).parent if found else None


def _release(initdb: Path) -> float:
    return float(initdb.parent.parent.name)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """One cluster for the whole run."""
    programs = _programs()
    if programs is None or not shutil.which("setpriv"):
        pytest.skip("PostgreSQL's server programs (or setpriv) are not installed")
    with run.short_folder("pg") as folder:
        server = PostgreSQL(programs, folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()
