"""Stands in for systemctl on a machine without systemd: sshd and units of /etc/systemd/system.

A service's processes are a session of their own; the session's leader, whose id stands in
/run/units, starts the command again as ``Restart=`` says. Enabled units start at each boot
(``systemctl boot``). Only the settings read below mean anything. Runs by itself, without the
checkout's other modules.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

UNITS = Path("/etc/systemd/system")
RUNNING = Path("/run/units")
ENABLED = Path("/var/lib/units")
SSHD_PID = Path("/run/sshd.pid")
_SSH = ("ssh.service", "sshd.service", "ssh.socket")


class UnitError(Exception):
    """What cannot be done; the message is for the log."""


class Settings:
    """The settings of one unit's file."""

    def __init__(self, unit: str) -> None:
        path = UNITS / unit
        if not path.is_file():
            raise UnitError(f"Unit {unit} not found.")
        text = path.read_text().replace("\\\n", " ")
        pairs = [line.partition("=") for line in text.splitlines() if line[:1] not in "#;["]
        self._pairs = [(name.strip(), value.strip()) for name, _, value in pairs if name]

    def all(self, name: str) -> list[str]:
        """Every value of a setting."""
        return [value for key, value in self._pairs if key == name]

    def last(self, name: str, default: str = "") -> str:
        """The value that counts."""
        return (self.all(name) or [default])[-1]

    def environment(self) -> dict[str, str]:
        """The variables of the service: systemd passes none of its own but these."""
        variables = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        for name in self.all("EnvironmentFile"):
            path = Path(name.lstrip("-"))
            if path.exists() or not name.startswith("-"):
                lines = [line for line in path.read_text().splitlines() if "=" in line]
                variables |= dict(word.split("=", 1) for word in shlex.split("\n".join(lines)))
        for line in self.all("Environment"):
            variables |= dict(word.split("=", 1) for word in shlex.split(line))
        return variables

    def commands(self, name: str) -> list[list[str]]:
        """Commands as argument lists; no shell is between."""
        return [shlex.split(line.lstrip("-+!@:").replace("%%", "%")) for line in self.all(name)]


def alive(pid_file: Path) -> bool:
    """Whether the process whose id stands in the file lives."""
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(pid_file.read_text()), 0)
        return True
    return False


def start(unit: str) -> None:
    """Start a unit unless it runs."""
    if unit in _SSH:
        if not alive(SSHD_PID):
            Path("/run/sshd").mkdir(exist_ok=True)
            subprocess.run(["/usr/sbin/sshd", "-E", "/var/log/sshd.log"], check=True)
        return
    settings, pid_file = Settings(unit), RUNNING / f"{unit}.pid"
    if alive(pid_file):
        return
    if settings.last("Type") == "oneshot":
        _run(settings)
    elif child := os.fork():
        pid_file.write_text(str(child))
    else:
        os.setsid()
        with Path(f"/var/log/{unit}.log").open("ab") as log, Path(os.devnull).open("rb") as null:
            for number, file in enumerate((null, log, log)):
                os.dup2(file.fileno(), number)
        _supervise(settings)


def _supervise(settings: Settings) -> None:
    """Run the service, again and again if it shall be; the session's leader does."""
    while True:
        try:
            good = _run(settings)
        except (OSError, UnitError) as error:
            print(error, file=sys.stderr, flush=True)
            good = False
        restart = settings.last("Restart")
        if not (restart == "always" or (restart == "on-failure" and not good)):
            os._exit(0)
        time.sleep(float(settings.last("RestartSec", "0.1").removesuffix("s")))


def _run(settings: Settings) -> bool:
    """Run the unit's commands to their end; whether all went well."""
    variables, user = settings.environment(), settings.last("User")
    options: dict[str, object] = {}
    if user:
        entry = pwd.getpwnam(user)
        variables |= {"HOME": entry.pw_dir, "USER": user, "SHELL": entry.pw_shell}
        options = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    folder = settings.last("WorkingDirectory", "/")
    for argv in settings.commands("ExecStartPre") + settings.commands("ExecStart"):
        if subprocess.run(argv, env=variables, cwd=folder, **options).returncode:  # type: ignore[call-overload]
            return False
    return True


def stop(unit: str) -> None:
    """End a unit's processes."""
    if unit in _SSH:
        if alive(SSHD_PID):
            os.kill(int(SSHD_PID.read_text()), signal.SIGTERM)
        return
    pid_file = RUNNING / f"{unit}.pid"
    with contextlib.suppress(OSError, ValueError):
        os.killpg(int(pid_file.read_text()), signal.SIGTERM)
    pid_file.unlink(missing_ok=True)


def reload(unit: str) -> None:
    """Make a unit heed what changed in its files."""
    if unit in _SSH and alive(SSHD_PID):
        os.kill(int(SSHD_PID.read_text()), signal.SIGHUP)
    else:
        stop(unit)
        start(unit)


def enable(unit: str) -> None:
    """Start a unit at each boot."""
    if unit not in _SSH:
        Settings(unit)
        (ENABLED / unit).touch()


def disable(unit: str) -> None:
    """Do not start it at boot."""
    (ENABLED / unit).unlink(missing_ok=True)


def is_active(unit: str) -> None:
    """Fail when it does not run."""
    if not alive(SSHD_PID if unit in _SSH else RUNNING / f"{unit}.pid"):
        raise UnitError("inactive")


_VERBS = {
    "start": [start],
    "stop": [stop],
    "restart": [reload],
    "try-restart": [reload],
    "reload": [reload],
    "reload-or-restart": [reload],
    "try-reload-or-restart": [reload],
    "enable": [enable],
    "disable": [disable],
    "enable --now": [enable, start],
    "disable --now": [disable, stop],
    "is-active": [is_active],
    "daemon-reload": [],
}


def main(arguments: list[str]) -> int:
    """Do what the command line says; the exit status."""
    verb, *units = [word for word in arguments if not word.startswith("-")]
    if verb in ("poweroff", "halt"):
        os.kill(1, signal.SIGTERM)
        return 0
    if verb == "boot":
        verb, units = "start", sorted(path.name for path in ENABLED.iterdir())
    if "--now" in arguments:
        verb += " --now"
    if verb not in _VERBS:
        print(f"systemctl: {verb!r} is unknown here", file=sys.stderr)
        return 1
    status = 0
    for unit in units:
        try:
            for step in _VERBS[verb]:
                step(unit if "." in unit else f"{unit}.service")
        except (UnitError, OSError, subprocess.SubprocessError) as error:
            print(f"systemctl {verb}: {error}", file=sys.stderr)
            status = 5
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
