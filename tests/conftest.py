"""The frame around all tests: nothing is left behind, no skip goes unnoticed where all is there."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

from tests.infra import reaper

if "SKYPORT_TEST_REAPER" not in os.environ:
    os.environ["SKYPORT_TEST_REAPER"] = str(os.getpid())
    reaper.adopt()

# Only now, since the run's identity is that of the process that runs the tests.
import pytest

from tests.infra import attachments, run
from tests.infra.leftovers import Surroundings, find
from tests.infra.requirements import REQUIRE_ALL

# Emulated PCs take minutes and what "make qemu-image" prepares: only for who asks for them.
collect_ignore_glob = [] if os.environ.get("SKYPORT_QEMU") == "1" else ["*/test_qemu*.py"]

_before = pytest.StashKey[Surroundings]()
_skipped: list[str] = []


def _stop(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def pytest_configure(config: pytest.Config) -> None:
    run.mark()
    for line in run.sweep():
        print(f"left by an earlier run, removed: {line}")
    signal.signal(signal.SIGTERM, _stop)
    config.stash[_before] = Surroundings.now()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.extend(attachments.sections())
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    found = find(session.config.stash[_before], alone=REQUIRE_ALL)
    if REQUIRE_ALL:
        found += [f"skipped, though everything is required: {name}" for name in _skipped]
    session.config.stash[_found] = found
    if found and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


_found = pytest.StashKey[list[str]]()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    found = config.stash.get(_found, [])
    if found:
        terminalreporter.section("left behind", red=True)
        for line in found:
            terminalreporter.line(line)
