"""What a login to the local gate's SSH server may and may not do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncssh
import pytest

from skyport_gates.gate import GateContext, SSHEndpoint
from skyport_gates.local import LocalGate
from skyport_gates.local_files import process_start
from skyport_gates.local_session import home_slug
from skyport_gates.timing import in_time
from tests.infra.logins import Authority
from tests.infra.wait import eventually


@pytest.fixture
async def endpoint(local: LocalGate) -> SSHEndpoint:
    return (await local.nodes())[0].endpoint


@pytest.fixture
async def ann(
    endpoint: SSHEndpoint, authority: Authority
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    async with authority.connect(endpoint, "ann") as connection:
        yield connection


async def _refused(endpoint: SSHEndpoint, authority: Authority, **changes: object) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        async with authority.connect(endpoint, "ann", **changes):
            pass


class TestWhoGetsIn:
    async def test_a_certificate_for_another_login_is_refused(
        self, endpoint: SSHEndpoint, authority: Authority
    ) -> None:
        await _refused(endpoint, authority, client_keys=[authority.certificate("bob")])

    async def test_a_certificate_without_principals_is_refused(
        self, endpoint: SSHEndpoint, authority: Authority
    ) -> None:
        await _refused(endpoint, authority, client_keys=[authority.certificate()])

    async def test_an_expired_certificate_is_refused(
        self, endpoint: SSHEndpoint, authority: Authority
    ) -> None:
        expired = authority.certificate("ann", seconds=-60)
        await _refused(endpoint, authority, client_keys=[expired])

    async def test_a_certificate_of_another_authority_is_refused(
        self, endpoint: SSHEndpoint, authority: Authority
    ) -> None:
        await _refused(endpoint, authority, client_keys=[Authority().certificate("ann")])

    async def test_the_authoritys_own_key_is_no_login(
        self, endpoint: SSHEndpoint, authority: Authority
    ) -> None:
        await _refused(endpoint, authority, client_keys=[authority.key])

    async def test_there_are_no_passwords(
        self, endpoint: SSHEndpoint, authority: Authority
    ) -> None:
        await _refused(
            endpoint,
            authority,
            client_keys=None,
            password="secret",
            preferred_auth="password,keyboard-interactive",
        )


class TestCommands:
    async def test_output_error_output_and_status_come_back(
        self, ann: asyncssh.SSHClientConnection
    ) -> None:
        result = await ann.run("echo out; echo err >&2; exit 7")
        assert (result.stdout, result.stderr, result.exit_status) == ("out\n", "err\n", 7)

    async def test_input_reaches_the_command_and_ends_there(
        self, ann: asyncssh.SSHClientConnection
    ) -> None:
        data = os.urandom(3_000_000)
        result = await ann.run("wc -c", input=data, encoding=None)
        assert result.stdout is not None
        assert int(result.stdout) == len(data)

    async def test_a_command_that_ignores_its_input_still_ends(
        self, ann: asyncssh.SSHClientConnection
    ) -> None:
        result = await asyncio.wait_for(ann.run("exit 3", input="x" * 1_000_000), 10)
        assert result.exit_status == 3

    async def test_much_output_arrives_whole(self, ann: asyncssh.SSHClientConnection) -> None:
        result = await ann.run("head -c 20000000 /dev/zero | tr '\\0' x", encoding=None)
        assert result.stdout is not None
        assert len(result.stdout) == 20_000_000

    async def test_a_shell_without_command_reads_its_input(
        self, ann: asyncssh.SSHClientConnection
    ) -> None:
        result = await ann.run(input="echo from shell\n")
        assert result.stdout == "from shell\n"

    async def test_death_by_a_signal_is_reported(self, ann: asyncssh.SSHClientConnection) -> None:
        result = await ann.run("kill -9 $$")
        assert result.exit_signal is not None
        assert result.exit_signal[0] == "KILL"

    async def test_a_signal_reaches_the_whole_group_also_after_the_end_of_input(
        self, ann: asyncssh.SSHClientConnection
    ) -> None:
        process = await ann.create_process("echo ready; sleep 600; echo never")
        process.stdin.write_eof()
        assert await process.stdout.readline() == "ready\n"
        process.send_signal("TERM")
        result = await asyncio.wait_for(process.wait(), 10)
        assert result.exit_signal is not None
        assert result.exit_signal[0] == "TERM"

    async def test_closing_the_channel_ends_the_command(
        self, ann: asyncssh.SSHClientConnection
    ) -> None:
        process = await ann.create_process("echo $$; sleep 600")
        pid = int(await process.stdout.readline())
        process.close()
        await eventually(lambda: process_start(pid) is None, "the command has ended")

    async def test_losing_the_connection_ends_the_command(
        self, endpoint: SSHEndpoint, authority: Authority
    ) -> None:
        async with authority.connect(endpoint, "ann") as connection:
            process = await connection.create_process("echo $$; sleep 600")
            pid = int(await process.stdout.readline())
            connection.abort()
        await eventually(lambda: process_start(pid) is None, "the command has ended")

    async def test_a_detached_job_outlives_connection_and_server(
        self, local: LocalGate, endpoint: SSHEndpoint, authority: Authority
    ) -> None:
        async with authority.connect(endpoint, "ann") as connection:
            result = await connection.run(
                "setsid sh -c 'echo $$ >pid; exec sleep 600' >/dev/null 2>&1 </dev/null &"
                "while ! [ -s pid ]; do sleep 0.01; done; cat pid"
            )
        pid = int(str(result.stdout))
        start = process_start(pid)
        try:
            await local.close(idle=True)
            assert start is not None
            assert process_start(pid) == start
        finally:
            os.kill(pid, signal.SIGKILL)

    async def test_an_unknown_subsystem_is_refused(self, ann: asyncssh.SSHClientConnection) -> None:
        with pytest.raises(asyncssh.ChannelOpenError):
            await ann.create_process(subsystem="netconf")


class TestEnvironment:
    async def test_nothing_of_the_cores_environment_leaks(
        self,
        make_local: Callable[..., LocalGate],
        authority: Authority,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name in ("JUPYTERHUB_API_TOKEN", "SKYPORT_KEY", "CONFIGPROXY_AUTH_TOKEN", "AWS_SECRET"):
            monkeypatch.setenv(name, "top-secret")
        gate = make_local()
        await gate.start()
        async with authority.connect((await gate.nodes())[0].endpoint, "ann") as connection:
            result = await connection.run("env; tr '\\0' '\\n' </proc/$PPID/environ")
        assert "top-secret" not in str(result.stdout)

    async def test_env_keep_lets_a_variable_through(
        self,
        make_local: Callable[..., LocalGate],
        authority: Authority,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("SITE_PROXY", "proxy:3128")
        gate = make_local(env_keep=["PATH", "SITE_*"])
        await gate.start()
        async with authority.connect((await gate.nodes())[0].endpoint, "ann") as connection:
            result = await connection.run("echo $SITE_PROXY")
        assert result.stdout == "proxy:3128\n"

    async def test_the_login_and_its_home_are_in_the_environment(
        self, ann: asyncssh.SSHClientConnection, context: GateContext
    ) -> None:
        result = await ann.run('echo "$USER $LOGNAME $HOME"; pwd; echo "$PATH"; echo "$SHELL"')
        login, where, path, shell = str(result.stdout).splitlines()
        home = context.home / "homes" / "ann"
        assert login == f"ann ann {home}"
        assert where == str(home)
        assert path.split(":")[0] == str(Path(sys.executable).parent)
        assert os.access(shell, os.X_OK)

    async def test_only_the_locale_is_taken_from_the_client(
        self, ann: asyncssh.SSHClientConnection
    ) -> None:
        sent = {"LC_ALL": "C", "LANG": "de_DE.UTF-8", "LD_PRELOAD": "/x", "PATH": "/y"}
        result = await ann.run(
            'echo "$LC_ALL $LANG"; env | grep -c -e "^LD_PRELOAD=" -e "=/y$"', env=sent
        )
        assert result.stdout == "C de_DE.UTF-8\n0\n"


class TestHomes:
    @pytest.mark.parametrize("name", ["Ann@x.org", "../x", "..", ".", "/etc", "a/b", "ä b", "A--b"])
    async def test_any_login_name_gets_a_folder_inside_homes(
        self, name: str, endpoint: SSHEndpoint, authority: Authority, context: GateContext
    ) -> None:
        async with authority.connect(endpoint, name) as connection:
            result = await connection.run('pwd -P; echo "$USER"')
        where, user = str(result.stdout).splitlines()
        assert Path(where).parent == context.home / "homes"
        assert user == name

    def test_logins_that_look_alike_do_not_share_a_folder(self) -> None:
        names = ["ann", "Ann", "ANN", "ann-", "a.nn", "ann--x", "../ann", "ann/", "ann@x", "ann_x"]
        assert len({home_slug(name) for name in names}) == len(names)

    def test_a_name_that_imitates_a_hashed_folder_gets_another_one(self) -> None:
        assert home_slug(home_slug("Ann")) != home_slug("Ann")

    async def test_a_home_is_private(
        self, ann: asyncssh.SSHClientConnection, context: GateContext
    ) -> None:
        await ann.run("true")
        mode = (context.home / "homes" / "ann").stat().st_mode
        assert stat.S_IMODE(mode) == 0o700


class TestFiles:
    async def test_relative_paths_start_in_the_home(
        self, ann: asyncssh.SSHClientConnection, context: GateContext
    ) -> None:
        home = context.home / "homes" / "ann"
        async with ann.start_sftp_client() as sftp:
            assert await sftp.realpath(".") == str(home)
            await sftp.makedirs(".skyport/jobs/1")
            async with sftp.open(".skyport/jobs/1/data", "wb") as file:
                await file.write(b"content")
            assert await sftp.stat(str(home / ".skyport/jobs/1/data"))
        assert (home / ".skyport/jobs/1/data").read_bytes() == b"content"

    async def test_a_file_can_be_made_private_from_its_first_byte(
        self, ann: asyncssh.SSHClientConnection, context: GateContext
    ) -> None:
        async with ann.start_sftp_client() as sftp:
            attrs = asyncssh.SFTPAttrs(permissions=0o600)
            async with sftp.open("secret", "wb", attrs) as file:
                await file.write(b"x")
        mode = (context.home / "homes" / "ann" / "secret").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600

    async def test_a_fifo_or_device_is_refused_and_holds_up_nobody(
        self, ann: asyncssh.SSHClientConnection
    ) -> None:
        await ann.run("mkfifo pipe; ln -s /dev/zero zero")
        async with ann.start_sftp_client() as sftp:
            for name, mode in (("pipe", "rb"), ("pipe", "wb"), ("zero", "rb"), (".", "rb")):
                with pytest.raises(asyncssh.SFTPFailure, match="only regular files"):
                    await in_time(sftp.open(name, mode), 10)

    async def test_files_are_opened_as_asked(self, ann: asyncssh.SSHClientConnection) -> None:
        async with ann.start_sftp_client() as sftp:
            async with sftp.open("data", "xb") as file:
                await file.write(b"long")
            with pytest.raises(asyncssh.SFTPFailure):
                await sftp.open("data", "xb")
            async with sftp.open("data", "ab") as file:
                await file.write(b"er")
            async with sftp.open("data", "r+b") as file:
                await file.write(b"L")
                data: str | bytes = await file.read(9, 0)
                assert data == b"Longer"
            async with sftp.open("data", "wb"):
                assert await sftp.getsize("data") == 0


@contextlib.asynccontextmanager
async def _echo_server(host: str) -> AsyncIterator[int]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    server = await asyncio.start_server(echo, host, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


class TestForwards:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.64.3.2", "localhost"])
    async def test_loopback_can_be_reached(
        self, ann: asyncssh.SSHClientConnection, host: str
    ) -> None:
        async with _echo_server("127.0.0.1" if host == "localhost" else host) as port:
            reader, writer = await ann.open_connection(host, port)
            writer.write(b"hello")
            writer.write_eof()
            assert await reader.read() == b"hello"

    @pytest.mark.parametrize("host", ["10.0.0.1", "0.0.0.0", "example.org", "::1", "128.0.0.1"])
    async def test_nothing_else_can_be_reached(
        self, ann: asyncssh.SSHClientConnection, host: str
    ) -> None:
        with pytest.raises(asyncssh.ChannelOpenError) as refusal:
            await ann.open_connection(host, 80)
        assert refusal.value.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED

    async def test_a_port_nobody_listens_on_is_told_apart_from_a_forbidden_one(
        self, ann: asyncssh.SSHClientConnection
    ) -> None:
        with pytest.raises(asyncssh.ChannelOpenError) as refusal:
            await ann.open_connection("127.64.0.9", 1)
        assert refusal.value.code == asyncssh.OPEN_CONNECT_FAILED

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    async def test_a_port_of_the_servers_choice_leads_back(
        self, ann: asyncssh.SSHClientConnection, host: str
    ) -> None:
        async with _echo_server("127.0.0.1") as port:
            listener = await ann.forward_remote_port(host, 0, "127.0.0.1", port)
            assert listener.get_port() > 0
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())
            writer.write(b"hello")
            writer.write_eof()
            assert await reader.read() == b"hello"
            writer.close()
            await writer.wait_closed()

    async def test_the_same_port_can_be_had_again_after_the_connection_was_lost(
        self, endpoint: SSHEndpoint, authority: Authority
    ) -> None:
        async with authority.connect(endpoint, "ann") as connection:
            listener = await connection.forward_remote_port("127.0.0.1", 0, "127.0.0.1", 9)
            port = listener.get_port()
            connection.abort()

        async def again() -> bool:
            async with authority.connect(endpoint, "ann") as connection:
                try:
                    await connection.forward_remote_port("127.0.0.1", port, "127.0.0.1", 9)
                except asyncssh.ChannelListenError:
                    return False
            return True

        await eventually(again, "the port is free again")

    @pytest.mark.parametrize("host", ["", "0.0.0.0", "127.0.0.2", "10.0.0.1"])
    async def test_no_other_address_can_be_listened_on(
        self, ann: asyncssh.SSHClientConnection, host: str
    ) -> None:
        with pytest.raises(asyncssh.ChannelListenError):
            await ann.forward_remote_port(host, 0, "127.0.0.1", 9)
