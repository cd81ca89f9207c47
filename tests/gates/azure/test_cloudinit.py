"""What a machine is told for its first boot, and the scripts that act on it."""

from __future__ import annotations

import base64
import dataclasses
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from skyport_gates.azure import cloudinit
from skyport_gates.azure.cloudinit import CloudInit, custom_data, sshd_config
from skyport_gates.gate import ConfigurationError, InvalidRequest

KEY = asyncssh.generate_private_key("ssh-ed25519")
PLAIN = CloudInit(
    username="alice",
    user_ca="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE ca",
    host_key_private=KEY.export_private_key().decode(),
    host_key_public=KEY.export_public_key().decode(),
)


def wish(**changes: Any) -> CloudInit:
    """What is wanted by default, but for some changes."""
    return dataclasses.replace(PLAIN, **changes)


def config(**changes: Any) -> dict[str, Any]:
    """The document, as cloud-init reads it."""
    data = custom_data(wish(**changes))
    assert data.startswith(b"#cloud-config\n")
    found = yaml.safe_load(data)
    assert isinstance(found, dict)
    return found


def files(**changes: Any) -> dict[str, dict[str, Any]]:
    """The files of the document by their paths."""
    return {each["path"]: each for each in config(**changes)["write_files"]}


def test_there_is_one_login_without_password_and_rights() -> None:
    (user,) = config()["users"]
    assert user == {
        "name": "alice",
        "gecos": "Sky Port",
        "shell": "/bin/bash",
        "lock_passwd": True,
    }


def test_sudo_is_given_only_if_wanted() -> None:
    assert config(sudo=True)["users"][0]["sudo"] == "ALL=(ALL) NOPASSWD:ALL"


def test_the_host_key_is_the_pinned_one_and_the_only_one() -> None:
    found = config()
    pinned = asyncssh.import_private_key(found["ssh_keys"]["ed25519_private"])
    assert pinned == KEY
    assert found["ssh_keys"]["ed25519_public"] == KEY.export_public_key().decode()
    assert found["ssh_deletekeys"] is True
    assert found["ssh_genkeytypes"] == ["ed25519"]


def test_nothing_is_updated() -> None:
    found = config()
    assert (found["package_update"], found["package_upgrade"]) == (False, False)


def test_the_authority_is_trusted() -> None:
    assert files()["/etc/ssh/skyport_user_ca.pub"]["content"] == f"{PLAIN.user_ca}\n"


def test_secrets_are_for_root_alone() -> None:
    for path, file in files(bootstrap="jupyter").items():
        assert PLAIN.host_key_private.splitlines()[1] not in file["content"], path


def test_the_agent_runs_as_a_service() -> None:
    found = config()
    assert ["systemctl", "enable", "--now", "skyport-agent.service"] in found["runcmd"]
    unit = files()["/etc/systemd/system/skyport-agent.service"]["content"]
    assert "ExecStart=/usr/local/lib/skyport/agent\n" in unit
    assert files()["/usr/local/lib/skyport/agent"]["permissions"] == "0755"


def test_where_systemd_listens_for_sshd_it_hears_of_another_port() -> None:
    commands = config(ssh_port=2222)["runcmd"]
    assert "ssh.socket" in commands[0][-1]
    assert commands[1:] == config()["runcmd"]


@pytest.mark.parametrize("name", ["sudo", "docker", "users", "_ssh", "rdma"])
def test_names_of_groups_are_no_logins(name: str) -> None:
    with pytest.raises(InvalidRequest):
        custom_data(wish(username=name))


def test_the_same_wish_is_the_same_document() -> None:
    assert custom_data(wish()) == custom_data(wish())


def test_the_hostname_is_left_to_azure_unless_given() -> None:
    assert "hostname" not in config()
    assert config(hostname="sky-1")["hostname"] == "sky-1"


def test_without_bootstrap_logins_are_open_at_once() -> None:
    assert "/etc/nologin" not in files()


@pytest.mark.parametrize("changes", [{"bootstrap": "jupyter"}, {"script": "true"}])
def test_with_a_bootstrap_logins_wait_for_its_end(changes: dict[str, str]) -> None:
    assert "/etc/nologin" in files(**changes)


def test_the_hubs_version_is_installed() -> None:
    conf = files(bootstrap="jupyter")["/etc/skyport/node.conf"]["content"]
    assert f"jupyterhub={cloudinit.installed_jupyterhub()}\n" in conf


def test_the_own_script_is_a_program_of_root() -> None:
    own = files(script="echo one")["/usr/local/lib/skyport/script"]
    assert own["content"] == "#!/bin/sh\necho one\n"
    assert own["permissions"] == "0700"
    own = files(script="#!/usr/bin/python3\nprint()\n")["/usr/local/lib/skyport/script"]
    assert own["content"] == "#!/usr/bin/python3\nprint()\n"


@given(st.text(max_size=200))
def test_any_script_arrives_as_it_is(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    if not text.rstrip("\n"):
        return
    own = files(script=f"#!/bin/sh\n{text}")["/usr/local/lib/skyport/script"]
    content = own["content"].encode()
    if own.get("encoding") == "b64":
        content = base64.b64decode(content)
    assert content.decode() == f"#!/bin/sh\n{text}".rstrip("\n") + "\n"


def test_too_much_for_azure_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="bootstrap_script") as caught:
        custom_data(wish(script="#" * 65536))
    assert "65535" in caught.value.message


def test_what_is_usual_leaves_room_for_a_script() -> None:
    data = custom_data(wish(bootstrap="container", container_image="quay.io/lab/jupyter:5"))
    assert len(data) < 20_000


@pytest.mark.parametrize("name", ["alice", "_lab", "ada.lovelace", "bob-2", "a" * 32])
def test_a_login_may_be_any_name_of_linux(name: str) -> None:
    assert config(username=name)["users"][0]["name"] == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "root",
        "sshd",
        "systemd-network",
        "Alice",
        "1st",
        "a b",
        "-x",
        "a\n",
        "ö",
        "a" * 33,
        "a:b",
    ],
)
def test_other_logins_are_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        custom_data(wish(username=name))
    assert repr(name) in caught.value.message


@pytest.mark.parametrize(
    "image", ["", "Jupyter", "quay.io/lab/jupyter:5 --privileged", "-v", "a;b", "a$(b)"]
)
def test_a_container_image_must_be_one(image: str) -> None:
    with pytest.raises(ConfigurationError, match="container_image"):
        custom_data(wish(bootstrap="container", container_image=image))


def test_settings_cannot_break_out_of_their_file() -> None:
    conf = cloudinit.node_conf(wish(identity="/a'; reboot; '"))
    script = f'{conf}\nprintf %s "$identity"'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout == "/a'; reboot; '"


# -- sshd --------------------------------------------------------------------------------------


def effective(tmp_path: Path, **changes: Any) -> dict[str, str]:
    """What a real sshd makes of the settings."""
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(program).exists():
        pytest.skip("needs OpenSSH's sshd")
    host_key = tmp_path / "host_key"
    host_key.write_text(PLAIN.host_key_private)
    host_key.chmod(0o600)
    path = tmp_path / "sshd_config"
    text = sshd_config(wish(**changes))
    path.write_text(text.replace("/etc/ssh/ssh_host_ed25519_key", str(host_key)))
    command = [program, "-T", "-f", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in said.splitlines() if " " in line)


def test_sshd_lets_in_the_login_by_certificate_only(tmp_path: Path) -> None:
    found = effective(tmp_path)
    assert found["trustedusercakeys"] == "/etc/ssh/skyport_user_ca.pub"
    assert found["allowusers"] == "alice"
    assert found["authorizedkeysfile"] == "none"
    assert found["passwordauthentication"] == "no"
    assert found["kbdinteractiveauthentication"] == "no"
    assert found["permitrootlogin"] == "no"


def test_sshd_forwards_what_servers_need(tmp_path: Path) -> None:
    found = effective(tmp_path)
    assert (found["allowtcpforwarding"], found["gatewayports"]) == ("yes", "no")


def test_sshd_listens_where_it_should(tmp_path: Path) -> None:
    assert effective(tmp_path)["port"] == "22"
    assert effective(tmp_path, ssh_port=2222)["port"] == "2222"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Port 22\n", "Include /etc/ssh/sshd_config.d/*.conf\nPort 22\n"),
        ("Include /etc/ssh/sshd_config.d/*.conf\n", "Include /etc/ssh/sshd_config.d/*.conf\n"),
        ("#Include /etc/ssh/sshd_config.d/*.conf\n", "Include /etc/ssh/sshd_config.d/*.conf\n#"),
    ],
)
def test_an_sshd_that_does_not_read_the_folder_is_made_to(
    tmp_path: Path, before: str, after: str
) -> None:
    conf = tmp_path / "sshd_config"
    conf.write_text(before)
    ((_, _, script),) = config()["bootcmd"]
    script = script.replace("/run/sshd_config", f"{tmp_path}/new")
    # The places stay in the text that is written and in the pattern, not in what is opened.
    script = script.replace(" /etc/ssh/sshd_config ", f" {conf} ")
    script = script.replace("cat /etc/ssh/sshd_config;", f"cat {conf};")
    script = script.replace(">/etc/ssh/sshd_config\n", f">{conf}\n")
    for _ in range(2):
        subprocess.run(["sh", "-c", script], check=True)
    assert conf.read_text().startswith(after)
    assert conf.read_text().count("\nInclude") == 0


# -- the bootstrap -----------------------------------------------------------------------------


TOOLS = (
    *("cat", "chmod", "chown", "cp", "cut", "env", "getent", "grep", "id", "ln", "mkdir", "rm"),
    *("runuser", "sh"),
)


class Machine:
    """Places and programs for the bootstrap, all below one folder."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder = folder
        for name in ("etc/skyport", "lib", "bin", "programs", "home"):
            (folder / name).mkdir(parents=True)
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True)
        wanted = {"username": user.stdout.strip(), **changes}
        conf = cloudinit.node_conf(wish(**wanted))
        (folder / "etc/skyport/node.conf").write_text(conf)
        (folder / "etc/nologin").write_text("Sky Port is setting up this machine.\n")
        for name in TOOLS:
            if found := shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin"):
                (folder / "programs" / name).symlink_to(found)
        self.program("sleep", "exit 0")

    def program(self, name: str, body: str) -> None:
        """A program that notes how it was called, then runs ``body``."""
        path = self.folder / "programs" / name
        path.unlink(missing_ok=True)
        note = f"printf '%s\\n' \"{name} $*\" >>{self.folder}/calls"
        path.write_text(f"#!/bin/sh\n{note}\n{body}\n")
        path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """How programs were called."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def run(self, script: str, *arguments: str, **environment: str) -> int:
        """Run one of the scripts; its status."""
        path = Path(cloudinit.__file__).parent / "node" / script
        places = {
            "PATH": f"{self.folder}/programs",
            "HOME": f"{self.folder}/home",
            "SKYPORT_CONF": f"{self.folder}/etc/skyport/node.conf",
            "SKYPORT_ETC": f"{self.folder}/etc",
            "SKYPORT_LIB": f"{self.folder}/lib",
            "SKYPORT_BIN": f"{self.folder}/bin",
            "SKYPORT_OPT": f"{self.folder}/opt",
            "SKYPORT_RUN": f"{self.folder}/run",
            "SKYPORT_STATE": f"{self.folder}/state",
        }
        command = ["/bin/sh", str(path), *arguments]
        return subprocess.run(command, env={**places, **environment}, timeout=20).returncode

    @property
    def nologin(self) -> str | None:
        """What keeps logins out; None if nothing does."""
        path = self.folder / "etc/nologin"
        return path.read_text() if path.exists() else None

    @property
    def ready(self) -> bool:
        """Whether the bootstrap said that all is done."""
        return (self.folder / "state/ready").exists()


def test_a_bootstrap_that_ends_well_opens_the_machine(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.run("bootstrap.sh") == 0
    assert machine.ready and machine.nologin is None


def test_a_script_that_fails_keeps_the_machine_closed_and_says_so(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    own = tmp_path / "lib/script"
    own.write_text("#!/bin/sh\nexit 3\n")
    own.chmod(0o700)
    assert machine.run("bootstrap.sh") == 1
    assert not machine.ready
    assert machine.nologin == (
        "Sky Port could not set up this machine: the script bootstrap_script ended with status 3.\n"
    )


def test_an_image_with_jupyter_gets_no_other(tmp_path: Path) -> None:
    machine = Machine(tmp_path, bootstrap="jupyter")
    machine.program("jupyterhub-singleuser", "exit 0")
    machine.program("python3", "exit 1")
    assert machine.run("bootstrap.sh") == 0
    assert machine.ready and machine.calls == []


PIP = """\
mkdir -p "$3/bin"
cat >"$3/bin/pip" <<END
#!/bin/sh
echo "pip \\$*" >>{calls}
{body}
END
chmod +x "$3/bin/pip"
"""


def venv(machine: Machine, body: str) -> None:
    """A python3 whose virtual environments have a pip that runs ``body``."""
    make = PIP.format(calls=machine.folder / "calls", body=body)
    machine.program("python3", f'[ "$1" = -c ] && exit 0\n{make}')


def test_jupyter_is_installed_in_the_hubs_version(tmp_path: Path) -> None:
    machine = Machine(tmp_path, bootstrap="jupyter", jupyterhub="5.3.0")
    venv(machine, "exit 0")
    assert machine.run("bootstrap.sh") == 0
    assert "jupyterhub==5.3.0 jupyterlab>=4.2,<5" in machine.calls[-1]
    link = tmp_path / "bin/jupyterhub-singleuser"
    assert link.readlink() == tmp_path / "opt/bin/jupyterhub-singleuser"


def test_a_download_that_fails_is_tried_three_times(tmp_path: Path) -> None:
    machine = Machine(tmp_path, bootstrap="jupyter")
    venv(machine, "exit 1")
    assert machine.run("bootstrap.sh") == 1
    assert len([call for call in machine.calls if call.startswith("pip")]) == 3
    assert "pip could not install jupyterhub" in (machine.nologin or "")


def container(tmp_path: Path) -> Machine:
    """A machine for containers, with all but podman's work."""
    machine = Machine(tmp_path, bootstrap="container", container_image="quay.io/lab/jupyter:5")
    machine.program("runuser", 'shift 3; exec "$@"')
    machine.program("usermod", "exit 0")
    machine.program("chown", "exit 0")
    return machine


def test_a_container_image_is_fetched_for_the_login(tmp_path: Path) -> None:
    machine = container(tmp_path)
    machine.program("podman", f'[ "$XDG_RUNTIME_DIR" = {tmp_path}/run ]')
    assert machine.run("bootstrap.sh") == 0
    assert machine.calls[-1] == "podman pull --quiet quay.io/lab/jupyter:5"
    link = tmp_path / "bin/jupyterhub-singleuser"
    assert link.readlink() == tmp_path / "lib/singleuser"


def test_an_image_that_cannot_be_fetched_is_named(tmp_path: Path) -> None:
    machine = container(tmp_path)
    machine.program("podman", "exit 125")
    assert machine.run("bootstrap.sh") == 1
    assert "could not pull quay.io/lab/jupyter:5" in (machine.nologin or "")


def test_podman_is_installed_where_it_is_missing(tmp_path: Path) -> None:
    machine = container(tmp_path)
    source = tmp_path / "podman"
    source.write_text("#!/bin/sh\nexit 0\n")
    source.chmod(0o755)
    machine.program(
        "apt-get", f'case "$*" in *install*) cp {source} {tmp_path}/programs/podman ;; esac'
    )
    assert machine.run("bootstrap.sh") == 0
    assert any(call.endswith("install podman uidmap") for call in machine.calls)


def test_the_server_in_the_container_gets_environment_home_and_network(tmp_path: Path) -> None:
    machine = container(tmp_path)
    machine.program("podman", f"env >{tmp_path}/environment")
    token = "s3cret-token"
    status = machine.run("singleuser.sh", "--debug", "a b", JUPYTERHUB_API_TOKEN=token)
    assert status == 0
    (call,) = machine.calls
    assert token not in call
    assert f"JUPYTERHUB_API_TOKEN={token}\n" in (tmp_path / "environment").read_text()
    assert "--network host" in call and "--env-host" in call
    assert f"--volume {tmp_path}/home:{tmp_path}/home" in call
    assert call.endswith("quay.io/lab/jupyter:5 jupyterhub-singleuser --debug a b")


def test_the_script_of_the_container_becomes_podman(tmp_path: Path) -> None:
    machine = container(tmp_path)
    machine.program("podman", f"echo $$ >{tmp_path}/pid; exit 7")
    path = Path(cloudinit.__file__).parent / "node" / "singleuser.sh"
    environment = {
        "PATH": f"{tmp_path}/programs",
        "HOME": str(tmp_path),
        "SKYPORT_CONF": f"{tmp_path}/etc/skyport/node.conf",
    }
    process = subprocess.Popen(["/bin/sh", str(path)], env=environment)
    assert process.wait(timeout=10) == 7
    assert int((tmp_path / "pid").read_text()) == process.pid


def test_the_document_is_json_too() -> None:
    data = custom_data(wish(script="echo ü\n"))
    assert json.loads(data.split(b"\n", 1)[1])["ssh_pwauth"] is False
