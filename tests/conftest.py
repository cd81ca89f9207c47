"""The frame around all tests: nothing is left behind, no skip goes unnoticed where all is there.

With ``-n 2`` (pytest-xdist) the files are run in lanes, processes of their own. Each lane looks for
what its tests left of their own; at the machine looks the process that started the lanes, once,
when all have ended.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from typing import Any

from tests.infra import reaper

if "SKYPORT_TEST_REAPER" not in os.environ:
    os.environ["SKYPORT_TEST_REAPER"] = str(os.getpid())
    reaper.adopt()

# Only now, since the run's identity is that of the process that runs the tests.
import psutil
import pytest

from tests.infra import attachments, run
from tests.infra.leftovers import Surroundings, around, own
from tests.infra.requirements import REQUIRE_ALL

# Emulated PCs take minutes and what "make qemu-image" prepares: only for who asks for them.
collect_ignore_glob = [] if os.environ.get("SKYPORT_QEMU") == "1" else ["*/test_qemu*.py"]

LANE_END = 60.0
"""Seconds that an interrupted lane may take to tear down."""

_LEFT = "left_behind"
_before = pytest.StashKey[Surroundings]()
_lanes: list[str] = []
_found: list[str] = []
_skipped: list[str] = []


def _ignore(*_: object) -> None:
    """No SIG_IGN, which programs that tests start would inherit."""


def _stop(*_: object) -> None:
    signal.signal(signal.SIGTERM, _ignore)
    raise KeyboardInterrupt


def _lane_output(config: pytest.Config) -> dict[str, Any] | None:
    """What a lane tells the process that started it; None in that process or without lanes."""
    return getattr(config, "workeroutput", None)


def pytest_configure(config: pytest.Config) -> None:
    run.mark()
    signal.signal(signal.SIGTERM, _stop)
    if _lane_output(config) is not None:
        signal.signal(signal.SIGINT, _ignore)  # who started the lane hears Ctrl-C, and ends it
        reaper.end_with_parent()
        return
    for line in run.sweep():
        print(f"left by an earlier run, removed: {line}")
    config.stash[_before] = Surroundings.now()


@pytest.hookimpl(tryfirst=True)
def pytest_keyboard_interrupt() -> None:
    """Let lanes tear down what they have set up; pytest-xdist would kill them soon."""
    lanes = psutil.Process().children() if _lanes else []
    for lane in lanes:
        run.kill(lane.pid, signal.SIGTERM)
    psutil.wait_procs(lanes, timeout=LANE_END)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _lane_output(config) is None:
        return
    if signal.getsignal(signal.SIGTERM) is _ignore:
        os._exit(pytest.ExitCode.INTERRUPTED)  # it would wait for another order
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _lane_output(config) is not None:
        items.sort(key=_slow_first)


def _slow_first(item: pytest.Item) -> bool:
    """Files that take long begin early, so that all lanes end at about the same time."""
    return item.path.parent.name not in ("e2e", "spawner")


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
    _found.extend(own())
    output = _lane_output(session.config)
    if output is not None:
        output[_LEFT] = _found
        return
    _found.extend(around(session.config.stash[_before], alone=REQUIRE_ALL))
    if REQUIRE_ALL:
        _found.extend(f"skipped, though everything is required: {name}" for name in _skipped)
    if _found and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    """A lane has begun (pytest-xdist)."""
    _lanes.append(node.gateway.id)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A lane has ended."""
    _found.extend(getattr(node, "workeroutput", {}).get(_LEFT, []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _found:
        terminalreporter.section("left behind", red=True)
        for line in _found:
            terminalreporter.line(line)
