"""A kernel of a Jupyter server, spoken to as a notebook page does: REST and a websocket."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass
from typing import Any

import aiohttp


class KernelError(AssertionError):
    """The code raised; the message holds the traceback's last line."""


@dataclass(frozen=True)
class Kernel:
    """Kernel ``id`` at the server whose URL is ``base``."""

    session: aiohttp.ClientSession
    base: str
    id: str

    @classmethod
    async def start(cls, session: aiohttp.ClientSession, base: str) -> Kernel:
        """Start one of the default kind."""
        async with session.post(f"{base}/api/kernels", json={}) as answer:
            answer.raise_for_status()
            return cls(session, base, (await answer.json())["id"])

    async def execute(self, code: str, timeout: float = 30.0) -> str:
        """Run code over a new connection; what it printed or its value, as text."""
        return await asyncio.wait_for(self._execute(code), timeout)

    async def _execute(self, code: str) -> str:
        identity = uuid.uuid4().hex
        request = {
            "channel": "shell",
            "header": {
                "msg_id": identity,
                "msg_type": "execute_request",
                "username": "",
                "session": identity,
                "version": "5.3",
            },
            "parent_header": {},
            "metadata": {},
            "content": {"code": code, "silent": False, "allow_stdin": False},
            "buffers": [],
        }
        url = f"{self.base}/api/kernels/{self.id}/channels?session_id={identity}"
        async with self.session.ws_connect(url, max_msg_size=0) as socket:
            await socket.send_str(json.dumps(request))
            output: list[str] = []
            async for frame in socket:
                message = json.loads(frame.data)
                ours = message.get("parent_header", {}).get("msg_id") == identity
                if ours and _ends(message, output):
                    return "".join(output).rstrip("\n")
        raise ConnectionError("the kernel's connection closed before its answer")


def _ends(message: dict[str, Any], output: list[str]) -> bool:
    """Take one message of the answer; whether it is the last."""
    kind, content = message["msg_type"], message["content"]
    if kind == "stream":
        output.append(content["text"])
    elif kind == "execute_result":
        output.append(content["data"]["text/plain"])
    elif kind == "error":
        raise KernelError(f"{content['ename']}: {content['evalue']}")
    return bool(kind == "status" and content["execution_state"] == "idle")
