"""The benchmarks run and report; what they measure is for an idle machine to say."""

from __future__ import annotations

import re
import subprocess
import sys

from benchmarks.__main__ import BENCHMARKS
from tests.infra.nodes import CHECKOUT

_RESULT = re.compile(r"^RESULT (\w+) ratio=-?[\d.]+ target=[\d.]+ (?:ok|short)$", re.MULTILINE)


def _results(module: str, *arguments: str) -> list[str]:
    """Names of the results that a benchmark printed."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return _RESULT.findall(done.stdout)


def test_the_api_is_measured() -> None:
    sizes = ("--count", "16", "--stored", "50", "--listeners", "3", "--page", "8")
    names = _results("api", "--rounds", "1", *sizes)
    figures = ["submit_hub", "submit_sbatch", "list_hub"]
    watched = ["submit_watched_hub", "submit_watched_sbatch", "list_watched_hub"]
    assert names == [f"api_{name}" for name in (*figures, *watched)]


def test_azure_is_measured() -> None:
    names = _results("azure", "--numbers", "1", "--rounds", "1", "--pace", "0.1")
    assert names == [
        "azure_added_1",
        "azure_added_template_1",
        "azure_calls_1",
        "azure_calls_one_look_1",
    ]


def test_flavors_are_measured() -> None:
    names = _results("flavors", "--sizes", "30", "--rounds", "1")
    pages = ["first_100", "first_1000", "filtered"]
    orders = ["sort_price", "sort_spot_price", "sort_name", "sort_cpus", "sort_memory"]
    assert names == [f"flavors_{name}" for name in (*pages, *orders, "next_100", "next_1000")]


def test_all_are_run_together() -> None:
    names = {benchmark.__name__.rpartition(".")[2] for benchmark in BENCHMARKS}
    assert names == {"tunnel", "spawn", "flavors", "azure", "api"}
