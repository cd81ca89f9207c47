"""All benchmarks, one after the other: ``python -m benchmarks``."""

from __future__ import annotations

from benchmarks import api, azure, flavors, spawn, tunnel

BENCHMARKS = (tunnel, spawn, flavors, azure, api)


def main() -> None:
    """Run each with its usual options."""
    for benchmark in BENCHMARKS:
        print(f"\n{benchmark.__doc__}")
        benchmark.main([])


if __name__ == "__main__":
    main()
