"""JupyterHub's internal_ssl: hub and server prove themselves to each other through the tunnel."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import sys
import uuid

import aiohttp

from skyport_core.model import core_address, next_number, node_address, preferred_number
from skyport_spawner import certs
from tests.infra.core import CoreProcess
from tests.infra.lab import NOTEBOOK, hub_config
from tests.infra.ports import free_ports
from tests.infra.process import ServerProcess
from tests.infra.run import short_folder
from tests.infra.wait import eventually
from tests.spawner.steps import home_of, local_config, until_state

CONFIG = """
import sys
from jupyterhub.proxy import Proxy

class Routes(Proxy):
    '''Keeps the routes and carries nothing: the Python proxy knows no internal_ssl.'''

    should_start = False
    routes = {{}}

    async def add_route(self, routespec, target, data):
        self.routes[routespec] = {{"routespec": routespec, "target": target, "data": data}}

    async def delete_route(self, routespec):
        self.routes.pop(routespec, None)

    async def get_all_routes(self):
        return self.routes

c.JupyterHub.proxy_class = Routes
c.JupyterHub.internal_ssl = True
c.JupyterHub.internal_certs_location = "{home}/ssl"
c.JupyterHub.hub_port = {port}
c.JupyterHub.db_url = "sqlite:///{home}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{home}/cookie_secret"
c.JupyterHub.data_files_path = sys.prefix + "/share/jupyterhub"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.services = [{{"name": "tests", "api_token": "{token}", "admin": True}}]
"""


def test_a_certificate_names_the_addresses_that_a_job_may_get():
    job_id = str(uuid.uuid4())
    number = preferred_number(job_id)
    names = certs.alt_names(job_id)
    for taken in range(certs.CANDIDATES):
        assert f"IP:{core_address(number)}" in names, taken
        assert f"IP:{node_address(number)}" in names, taken
        number = next_number(number)
    for name in names:
        kind, _, value = name.partition(":")
        assert kind == "DNS" or ipaddress.ip_address(value).is_loopback


def test_the_files_go_into_the_jobs_folder_for_its_owner_only(tmp_path):
    key = tmp_path / "key"
    key.write_bytes(b"secret")
    (upload,) = certs.uploads({"keyfile": str(key)})
    assert (upload.path, upload.data, upload.mode) == ("tls/keyfile.pem", b"secret", 0o600)
    assert certs.remote_paths({"keyfile": str(key)}) == {"keyfile": "{job_dir}/tls/keyfile.pem"}


async def test_a_server_starts_and_answers_the_hub_only():
    async with CoreProcess(local_config()) as core:
        with short_folder("ssl") as home:
            (port,) = free_ports(1)
            token = uuid.uuid4().hex
            config = home / "jupyterhub_config.py"
            text = CONFIG.format(home=home, port=port, token=token)
            config.write_text(text + hub_config(core, [*NOTEBOOK, "--allow-root"]))
            hub = ServerProcess(
                "hub",
                [f"{sys.prefix}/bin/jupyterhub", "-f", str(config)],
                home,
                env={"CONFIGPROXY_AUTH_TOKEN": "unused"},
            )
            api = f"https://127.0.0.1:{port}/hub/api"
            hub.spawn()
            try:
                pair = home / "ssl/hub-internal/hub-internal"
                await eventually(pair.with_suffix(".crt").exists, "the hub's certificate", 20)
                context = ssl.create_default_context(cafile=str(home / "ssl/hub-ca_trust.crt"))
                for bundle in (home / "ssl").glob("*_trust.crt"):
                    context.load_verify_locations(str(bundle))
                context.load_cert_chain(f"{pair}.crt", f"{pair}.key")
                headers = {"Authorization": f"token {token}"}
                connector = aiohttp.TCPConnector(ssl=context)
                async with aiohttp.ClientSession(headers=headers, connector=connector) as session:

                    async def ask(method: str, path: str) -> int | None:
                        with contextlib.suppress(aiohttp.ClientError):
                            async with session.request(method, api + path) as answer:
                                return answer.status
                        return None

                    async def up() -> bool:
                        return await ask("GET", "/") == 200

                    await eventually(up, "the hub", 20)
                    assert await ask("POST", "/users/ann") == 201
                    assert await ask("POST", "/users/ann/server") in (201, 202)
                    job = await until_state(core, "ann", "RUNNING", timeout=30)

                    async def ready() -> bool:
                        async with session.get(f"{api}/users/ann") as answer:
                            server = (await answer.json())["servers"].get("")
                            return bool(server and server["ready"])

                    await eventually(ready, "ann's server", 20)
                    assert job.address is not None
                    url = f"https://{job.address.host}:{job.address.port}/user/ann/api"
                    async with session.get(url) as answer:
                        assert answer.status == 200
                    stranger = ssl.create_default_context()
                    stranger.check_hostname = False
                    stranger.verify_mode = ssl.CERT_NONE
                    async with aiohttp.ClientSession() as other:
                        refused = False
                        try:
                            async with other.get(url, ssl=stranger):
                                pass
                        except aiohttp.ClientError:
                            refused = True
                    assert refused
                    key = next(home_of(core, "ann").rglob("tls/keyfile.pem"))
                    assert key.stat().st_mode & 0o777 == 0o600
                    assert await ask("DELETE", "/users/ann/server") in (202, 204)
                    await until_state(core, "ann", "CANCELLED")
            finally:
                await hub.end()
                hub.detach()
