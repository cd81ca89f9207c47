"""Tunnels of the core against ``ssh -L``, to one OpenSSH server, in turns.

Throughput of one stream in both directions, round-trip time of single bytes, and memory a tunnel.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import traffic
from benchmarks.report import Result, Series, argument_parser, compare, end_tidily, publish
from benchmarks.traffic import Address
from skyport_core.ssh.identity import SSHIdentity
from tests.infra.ports import free_ports
from tests.infra.sshd import SSHD, start_sshd

CIPHERS = ("chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
OURS = "skyport"
WARM_UP = 16 * 2**20
CHECKOUT = Path(__file__).parent.parent


class Child:
    """A process whose input keeps it alive; it answers each line with a line."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT
        )

    def ask(self, line: str) -> str:
        """Send a line, and return the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self) -> str:
        """The next line it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait(10)}")
        return line.strip()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.close()
        except (RuntimeError, subprocess.TimeoutExpired):
            if kind is None:
                raise

    def close(self) -> None:
        """Close its input and wait for its end; RuntimeError when it failed."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stdout.close()
        if status:
            raise RuntimeError(f"{self.process.args!r} ended with {status}")


@dataclass
class Bench:
    """One OpenSSH server with a traffic server beside it, and both ways to reach that."""

    folder: Path
    sshd: SSHD
    target: int

    @classmethod
    @contextlib.contextmanager
    def open(cls) -> Iterator[Bench]:
        """Everything started; nothing is left afterwards."""
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skyport-bench-")))
            user_ca = SSHIdentity.load(folder).user_ca
            key = folder / "client_key"
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True
            )
            shutil.copy(f"{key}.pub", folder / "authorized_keys")
            lines = (f"AuthorizedKeysFile {folder}/authorized_keys", "LogLevel ERROR")
            sshd = start_sshd(folder / "sshd", user_ca, lines=lines)
            stack.callback(sshd.kill)
            (folder / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
            server = stack.enter_context(Child([sys.executable, "-m", "benchmarks.traffic"]))
            yield cls(folder, sshd, int(server.hear()))

    def core(self) -> Child:
        """A process with the core's tunnels."""
        return Child(
            [
                *(sys.executable, "-m", "benchmarks.carrier"),
                *(str(self.folder), str(self.sshd.port), self.sshd.host_key),
                *(self.sshd.username, str(self.target)),
            ]
        )

    @contextlib.contextmanager
    def ssh(self, cipher: str, port: int) -> Iterator[int]:
        """An ``ssh -L`` that listens on ``port``; its process id."""
        process = subprocess.Popen(
            [
                *("ssh", "-F", "none", "-N", "-p", str(self.sshd.port), "-c", cipher),
                *("-i", str(self.folder / "client_key")),
                *("-o", f"UserKnownHostsFile={self.folder}/known_hosts"),
                *("-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"),
                *("-L", f"127.0.0.1:{port}:127.0.0.1:{self.target}"),
                f"{self.sshd.username}@127.0.0.1",
            ],
            stdin=subprocess.DEVNULL,
        )
        try:
            await_listener(("127.0.0.1", port))
            yield process.pid
        finally:
            process.terminate()
            process.wait(10)


def await_listener(address: Address, timeout: float = 10.0) -> None:
    """Wait until connections are accepted."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            traffic.connect(address).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def measure_speed(bench: Bench, *, size: int, echoes: int, rounds: int) -> list[Series]:
    """Throughput and round trips of all subjects, in turns."""
    values: dict[tuple[str, str], list[float]] = {}
    with contextlib.ExitStack() as stack:
        core = stack.enter_context(bench.core())
        subjects: dict[str, Address] = {OURS: tuple(json.loads(core.ask("1"))[0])}
        for cipher, port in zip(CIPHERS, free_ports(len(CIPHERS)), strict=True):
            stack.enter_context(bench.ssh(cipher, port))
            subjects[f"ssh -L {cipher.partition('@')[0]}"] = ("127.0.0.1", port)
        for address in subjects.values():
            traffic.download(address, WARM_UP)
            traffic.upload(address, WARM_UP)
        for number in range(rounds):
            order = list(subjects.items())
            first = number % len(order)
            for subject, address in order[first:] + order[:first]:
                times = traffic.echo(address, echoes)
                for figure, value in (
                    ("down", traffic.download(address, size)),
                    ("up", traffic.upload(address, size)),
                    ("rtt p50", statistics.median(times)),
                    ("rtt p99", times[int(len(times) * 0.99)]),
                ):
                    values.setdefault((figure, subject), []).append(value)
    units = {"down": "MiB/s", "up": "MiB/s", "rtt p50": "us", "rtt p99": "us"}
    return [
        Series(subject, figure, units[figure], tuple(values[figure, subject]))
        for figure in units
        for subject in subjects
    ]


def measure_memory(bench: Bench, *, tunnels: int, peers: int) -> list[Series]:
    """Memory that one more tunnel takes, with a connection open through it."""
    with bench.core() as core, contextlib.ExitStack() as held:
        held.enter_context(traffic.hold(tuple(json.loads(core.ask("1"))[0])))
        before = pss(core.process.pid)
        for address in json.loads(core.ask(str(tunnels))):
            held.enter_context(traffic.hold(tuple(address)))
        ours = (pss(core.process.pid) - before) / tunnels
    with contextlib.ExitStack() as held:
        processes = []
        for port in free_ports(peers):
            processes.append(held.enter_context(bench.ssh(CIPHERS[1], port)))
            held.enter_context(traffic.hold(("127.0.0.1", port)))
        each = statistics.median(pss(process) for process in processes)
    return [
        Series(OURS, "memory a tunnel", "KiB", (ours,)),
        Series("ssh -L, a process each", "memory a tunnel", "KiB", (each,)),
    ]


def pss(pid: int) -> float:
    """A process's own share of memory (proportional set size), KiB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return float(next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:")))


def judge(series: Sequence[Series]) -> list[Result]:
    """The ratios to the best ``ssh -L`` against their targets."""

    def pick(figure: str) -> tuple[Series, list[Series]]:
        found = [one for one in series if one.figure == figure]
        return found[0], found[1:]

    return [
        compare("tunnel_throughput_down", *pick("down"), 0.9, "higher"),
        compare("tunnel_throughput_up", *pick("up"), 0.9, "higher"),
        compare("tunnel_rtt_p50", *pick("rtt p50"), 1.4, "lower"),
        compare("tunnel_rtt_p99", *pick("rtt p99"), 1.4, "lower"),
        compare("tunnel_memory", *pick("memory a tunnel"), 0.1, "lower"),
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure and report."""
    parser = argument_parser(__doc__)
    parser.add_argument("--size", type=int, default=128, help="MiB a transfer (128)")
    parser.add_argument("--rounds", type=int, default=21, help="rounds (21)")
    parser.add_argument("--echoes", type=int, default=500, help="round trips a round (500)")
    parser.add_argument("--tunnels", type=int, default=500, help="tunnels for the memory (500)")
    options = parser.parse_args(arguments)
    end_tidily()
    with Bench.open() as bench:
        series = measure_speed(
            bench, size=options.size << 20, echoes=options.echoes, rounds=options.rounds
        )
        series += measure_memory(bench, tunnels=options.tunnels, peers=10)
    publish(series, judge(series), options.json)


if __name__ == "__main__":
    main()
