"""What all pages share: templates, and headers that shut out everybody else's scripts."""

from __future__ import annotations

import functools
import re
import secrets
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from tornado.httputil import url_concat

from ..errors import ApiError
from ..handler import ApiBase


class PageHandler(ApiBase):
    """Base of the pages.

    Everything on a page comes from here, with the answer itself. It runs in a sandbox: at a hub
    the servers of all users are on the same web site, and their scripts must not look into it.
    """

    def set_default_headers(self) -> None:
        """HTML, whose scripts and styles are those of the page."""
        super().set_default_headers()
        if not hasattr(self, "nonce"):
            self.nonce = secrets.token_urlsafe(16)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header(
            "Content-Security-Policy",
            f"default-src 'none'; script-src 'nonce-{self.nonce}'; style-src 'nonce-{self.nonce}'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts",
        )

    async def prepare(self) -> None:
        """Send a browser that is not known to log in, where the door has a place for that."""
        try:
            await super().prepare()
        except ApiError as error:
            login: str | None = self.settings.get("login_page")
            if login is None or error.status != 401:
                raise
            path = self.request.path.removeprefix(self.root)
            self.redirect(url_concat(login, {"next": path}))

    @property
    def root(self) -> str:
        """What the paths of this door begin with."""
        prefix: str = self.settings["prefix"]
        return prefix

    def rendered(self, template: str, **values: Any) -> str:
        """A page as text."""
        page = _templates().get_template(template)
        return page.render(root=self.root, nonce=self.nonce, **values)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """The error as a page."""
        answer = self.refusal(status_code, **kwargs)
        self.finish(self.rendered("error.html", message=answer.message, status=answer.status))


@functools.cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    return environment


def prose(text: str) -> Markup:
    """Text of a docstring as HTML: paragraphs, and code between backticks."""
    paragraphs = [_marked(part) for part in re.split(r"\n\s*\n", text.strip())]
    return Markup("\n").join(Markup("<p>{}</p>").format(part) for part in paragraphs)


def _marked(text: str) -> Markup:
    parts = re.split(r"``?([^`]+)``?", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(parts)
    )
