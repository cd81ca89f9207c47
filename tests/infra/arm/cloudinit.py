"""What cloud-init does at a machine's boot, as far as machines of the tests are asked to.

It runs on the machine as root, by itself (no module of the checkout is imported), and follows
cloud-init's documented order: ``bootcmd`` at each boot; ``write_files``, ``users`` and the SSH host
keys at the first one; then sshd starts; then deferred files, ``runcmd`` and user scripts. A module
that fails is logged and does not stop the next ones. What a real one would do and this one does
not is a warning. Its output is the machine's serial log.

Names and meaning of the settings: https://docs.cloud-init.io/en/latest/reference/modules.html
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SEED = Path("/var/lib/waagent/seed.json")
STATE = Path("/var/lib/cloud")
RESULT = Path("/run/cloud-init/result.json")
SSH = Path("/etc/ssh")
WIRE_SERVER = ("168.63.129.16", 80)
_DONE_ELSEWHERE = {"package_update", "package_upgrade", "locale", "ssh_genkeytypes", "disable_root"}
_STAGES = {
    "bootcmd": "init",
    "write-files": "init",
    "set-hostname": "init",
    "users-groups": "init",
    "ssh": "init",
    "runcmd": "config",
    "write-files-deferred": "final",
    "scripts-user": "final",
}
_SECURE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Seed:
    """What the platform tells a machine: Azure's ``ovf-env.xml``.

    ``custom_data`` is decoded; ``public_keys`` are those of the login ``username``. ``trouble``
    holds words for what shall go wrong: "delay=SECONDS" before anything happens, "mute" (never
    reports ready), "silent" (sshd never starts), "other-host-key", "dies".
    """

    instance_id: str
    hostname: str
    username: str = ""
    public_keys: list[str] = field(default_factory=list)
    custom_data: bytes = b""
    trouble: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """Text for the machine's disk."""
        encoded = base64.b64encode(self.custom_data).decode()
        return json.dumps({**self.__dict__, "custom_data": encoded})

    @classmethod
    def from_json(cls, text: str) -> Seed:
        """The inverse of :meth:`to_json`."""
        fields = json.loads(text)
        return cls(**{**fields, "custom_data": base64.b64decode(fields["custom_data"])})


def config_of(data: bytes) -> tuple[dict[str, Any], str]:
    """The ``#cloud-config`` in custom data, and the script that it is otherwise ("" for none).

    Raises ValueError when it is neither, as cloud-init then heeds nothing of it.
    """
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    text = data.decode()
    if text.startswith("#!"):
        return {}, text
    if not text.strip():
        return {}, ""
    if not text.startswith("#cloud-config"):
        raise ValueError(f"unhandled custom data, it begins with {text[:20]!r}")
    import yaml

    config = yaml.safe_load(text) or {}
    if not isinstance(config, dict):
        raise ValueError("the cloud-config is no mapping")
    return config, ""


def content_of(file: dict[str, Any]) -> bytes:
    """What a ``write_files`` entry writes."""
    data = file.get("content", "")
    raw = data if isinstance(data, bytes) else str(data).encode()
    encoding = str(file.get("encoding", "text/plain")).lower().strip()
    if encoding not in ("text/plain", *_BASE64, *_GZIP):
        raise ValueError(f"unknown encoding {encoding!r} of {file['path']}")
    if encoding in _BASE64:
        raw = base64.b64decode(raw)
    return gzip.decompress(raw) if encoding in _GZIP else raw


_BASE64 = ("b64", "base64", "gz+base64", "gzip+base64", "gz+b64", "gzip+b64")
_GZIP = ("gz", "gzip", "gz+base64", "gzip+base64", "gz+b64", "gzip+b64")


def mode_of(permissions: object, default: int = 0o644) -> int:
    """Permission bits from "0600", or from what YAML made a number of."""
    if permissions is None:
        return default
    return int(permissions) if isinstance(permissions, (int, float)) else int(str(permissions), 8)


def shell_script(commands: object) -> str:
    """The script that ``runcmd`` and ``bootcmd`` become: lists are arguments, texts are shell."""
    if isinstance(commands, str):
        commands = [commands]
    if not isinstance(commands, list):
        raise ValueError(f"commands must be a list, not {type(commands).__name__}")
    lines = ["#!/bin/sh"]
    for command in commands:
        if isinstance(command, list):
            lines.append(" ".join(shlex.quote(str(word)) for word in command))
        elif command is not None:
            lines.append(str(command))
    return "\n".join(lines) + "\n"


def users_of(config: dict[str, Any], seed: Seed) -> list[dict[str, Any]]:
    """The logins to make: ``default`` is the platform's, and is made unless others are named."""
    platform: dict[str, Any] = {
        "name": seed.username,
        "shell": "/bin/bash",
        "groups": "adm,sudo",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": seed.public_keys + list(config.get("ssh_authorized_keys") or []),
    }
    found = []
    listed = config.get("users", ["default"]) or []
    for user in listed.split(",") if isinstance(listed, str) else listed:
        if user == "default":
            found += [platform] if seed.username else []
        else:
            found.append({"name": user} if isinstance(user, str) else dict(user))
    return found


class CloudInit:
    """One boot."""

    def __init__(self, seed: Seed) -> None:
        self.seed = seed
        self.errors: list[str] = []
        self._began = time.monotonic()
        self._instance = STATE / "instances" / seed.instance_id
        (self._instance / "sem").mkdir(parents=True, exist_ok=True)
        self.config: dict[str, Any] = {}
        self.script = ""

    def run(self) -> None:
        """All of the boot."""
        trouble = dict(word.partition("=")[::2] for word in self.seed.trouble)
        time.sleep(float(trouble.get("delay", 0)))
        self.log(f"cloud-init: datasource Azure, instance {self.seed.instance_id}")
        if "dies" in trouble:
            os.kill(1, signal.SIGTERM)
            signal.pause()
        if "mute" not in trouble:
            self.step("report-ready", report_ready, once=False)
        self.step("custom-data", self.read_custom_data, once=False)
        self.step("bootcmd", self.bootcmd, once=False)
        self.step("write-files", lambda: self.write_files(deferred=False))
        self.step("set-hostname", self.set_hostname)
        self.step("users-groups", self.users)
        self.step("ssh", lambda: self.host_keys("other-host-key" in trouble))
        if "silent" not in trouble:
            self.step("sshd", lambda: self.call("systemctl", "start", "ssh"), once=False)
        self.step("units", lambda: self.call("systemctl", "boot"), once=False)
        self.step("write-files-deferred", lambda: self.write_files(deferred=True))
        self.step("runcmd", self.runcmd)
        self.step("scripts-user", self.scripts)
        self.log(f"cloud-init: finished, {len(self.errors)} errors")
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps({"v1": {"datasource": "Azure", "errors": self.errors}}))
        (self._instance / "boot-finished").touch()

    def log(self, line: str) -> None:
        """One line of the serial log."""
        print(f"[{time.monotonic() - self._began:9.3f}] {line}", flush=True)

    def step(self, name: str, action: Callable[[], None], *, once: bool = True) -> None:
        """Run a module; one that runs ``once`` is not tried again even if it failed."""
        semaphore = self._instance / "sem" / name
        if (once and semaphore.exists()) or not self.wanted(name):
            return
        semaphore.touch()
        try:
            action()
        except Exception as error:
            # As in cloud-init, a module's failure is the log's matter.
            self.errors.append(f"{name}: {error}")
            self.log(f"cloud-init: ERROR: module {name} failed: {type(error).__name__}: {error}")

    def wanted(self, module: str) -> bool:
        """Whether the config's own lists of modules, if it has some, have this one."""
        stage = _STAGES.get(module)
        listed = self.config.get(f"cloud_{stage}_modules") if stage else None
        if listed is None:
            return True
        names = [each[0] if isinstance(each, list) else each for each in listed]
        return module in [name.replace("_", "-") for name in names]

    def call(self, *command: str, **options: Any) -> None:
        """Run a command whose output goes to the serial log; CalledProcessError if it fails."""
        subprocess.run(command, check=True, env=environment(), stdin=subprocess.DEVNULL, **options)

    def read_custom_data(self) -> None:
        """Understand the custom data; what this machine cannot do is a warning."""
        self.config, self.script = config_of(self.seed.custom_data)
        known = {*_DONE_ELSEWHERE, "users", "ssh_keys", "ssh_deletekeys", "ssh_authorized_keys"}
        known |= {"write_files", "bootcmd", "runcmd", "hostname", "ssh_pwauth"}
        known |= {f"cloud_{stage}_modules" for stage in _STAGES.values()}
        for name in sorted(self.config.keys() - known):
            self.log(f"cloud-init: WARNING: {name} has no effect on this machine")

    def bootcmd(self) -> None:
        """Commands of each boot."""
        if "bootcmd" in self.config:
            script = shell_script(self.config["bootcmd"])
            self.call(str(self.keep_script("bootcmd", script, "boot")))

    def runcmd(self) -> None:
        """Make a script of the commands of the first boot; it runs at the end."""
        if "runcmd" in self.config:
            self.keep_script("runcmd", shell_script(self.config["runcmd"]))

    def scripts(self) -> None:
        """Run that script, and the one that was given in place of a config."""
        if self.script:
            self.keep_script("part-001", self.script)
        failed = []
        for path in sorted((self._instance / "scripts").glob("*")):
            if subprocess.run([path], env=environment(), stdin=subprocess.DEVNULL).returncode:
                failed.append(path.name)
        if failed:
            raise RuntimeError(f"{' and '.join(failed)} failed")

    def keep_script(self, name: str, text: str, folder: str = "scripts") -> Path:
        """Put a script on the machine's disk."""
        path = self._instance / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o700)
        return path

    def write_files(self, *, deferred: bool) -> None:
        """The files whose ``defer`` is as given; an unknown owner ends the module."""
        for file in self.config.get("write_files") or []:
            if bool(file.get("defer", False)) is not deferred:
                continue
            path = Path(file["path"])
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab" if file.get("append") else "wb") as target:
                target.write(content_of(file))
            path.chmod(mode_of(file.get("permissions")))
            user, _, group = str(file.get("owner", "root:root")).partition(":")
            shutil.chown(path, user, group or None)

    def set_hostname(self) -> None:
        """The name of the machine."""
        name = str(self.config.get("hostname") or self.seed.hostname)
        Path("/etc/hostname").write_text(f"{name}\n")
        Path("/etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n")
        socket.sethostname(name)

    def users(self) -> None:
        """Logins with their groups, rights and keys."""
        for user in users_of(self.config, self.seed):
            make_user(user)

    def host_keys(self, other: bool) -> None:
        """The SSH host keys: those given, else new ones."""
        if self.config.get("ssh_deletekeys", True):
            for path in SSH.glob("ssh_host_*key*"):
                path.unlink()
        given = {} if other else self.config.get("ssh_keys") or {}
        for name, text in given.items():
            kind, _, part = name.partition("_")
            path = SSH / f"ssh_host_{kind}_key{'.pub' if part == 'public' else ''}"
            path.write_text(text)
            path.chmod(0o644 if part == "public" else 0o600)
        if not given:
            # A real one makes RSA and ECDSA keys, too; nobody here waits for them.
            self.call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{SSH}/{_ED25519}")


_ED25519 = "ssh_host_ed25519_key"


def environment() -> dict[str, str]:
    """The variables of commands: no HOME and no USER, as under systemd."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("SKYPORT_TEST")}
    return {**kept, "PATH": _SECURE_PATH, "LANG": "C.UTF-8"}


def report_ready() -> None:
    """Tell the platform that the machine is provisioned; given up after some seconds."""
    request = b"POST /machine?comp=health HTTP/1.0\r\nContent-Length: 0\r\n\r\n"
    for attempt in range(5):
        with (
            contextlib.suppress(OSError),
            socket.create_connection(WIRE_SERVER, timeout=2) as connection,
        ):
            connection.sendall(request)
            if b" 200 " in connection.recv(64):
                return
        time.sleep(0.2 * attempt)
    raise OSError("the wire server does not answer")


def make_user(user: dict[str, Any]) -> None:
    """Make a login, or complete one that is there."""
    name, run = str(user["name"]), subprocess.run
    groups = user.get("groups") or []
    wanted = [each.strip() for each in groups.split(",")] if isinstance(groups, str) else groups
    for group in wanted:
        run(["groupadd", "-f", group], check=True)
    try:
        pwd.getpwnam(name)
    except KeyError:
        words = ["useradd", name, "--shell", str(user.get("shell", "/bin/sh"))]
        words += ["--uid", str(user["uid"])] if "uid" in user else []
        words += ["--groups", ",".join(wanted)] if wanted else []
        words += ["--home-dir", str(user["homedir"])] if "homedir" in user else []
        words += ["--comment", str(user["gecos"])] if "gecos" in user else []
        run([*words, "-M" if user.get("no_create_home") else "-m"], check=True)
    # A lock ("!") would also refuse keys, since sshd asks no PAM here; "*" refuses passwords only.
    password = "*" if user.get("lock_passwd", True) else str(user.get("passwd", "*"))
    run(["usermod", "--password", password, name], check=True)
    rules = user.get("sudo") or []
    if rules and rules is not True:
        sudoers = Path("/etc/sudoers.d/90-cloud-init-users")
        sudoers.parent.mkdir(exist_ok=True)
        with sudoers.open("a") as lines:
            for rule in [rules] if isinstance(rules, str) else rules:
                lines.write(f"{name} {rule}\n")
        sudoers.chmod(0o440)
    if keys := user.get("ssh_authorized_keys"):
        entry = pwd.getpwnam(name)
        folder = Path(entry.pw_dir, ".ssh")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = folder / "authorized_keys"
        file.write_text("".join(f"{str(key).strip()}\n" for key in keys))
        file.chmod(0o600)
        for path in (folder, file):
            os.chown(path, entry.pw_uid, entry.pw_gid)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    CloudInit(Seed.from_json(SEED.read_text())).run()
