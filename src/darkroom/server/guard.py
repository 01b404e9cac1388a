"""Who gets in, and what everything that goes out says: one ASGI layer around the application.

A page of another site, opened in the same browser, can send requests to this machine: so the Host must be a name of
ours (against DNS rebinding), and what changes something must not come from elsewhere (Origin, Sec-Fetch-Site). Served
files are inert: a strict content security policy, and no guessing of types.
"""

from __future__ import annotations

import asyncio
import base64
import json
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from darkroom.server.settings import LOCAL, Settings
from darkroom.server.spoken import spoken

COOKIE = "darkroom_key"
OPEN = (
    "/health",
    "/",
    "/favicon.svg",
    "/api/session",
)  # and the page's files: what anybody may read, or a key is given to
PAGE = "/page/"  # the page's own files, which hold nothing of anybody's
SAFE = ("GET", "HEAD", "OPTIONS")
PATIENCE_S = 30.0  # for the next part of what is sent
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}


class Refused(HTTPException):
    """Not let in: an HTTP status, a code, and why."""

    def __init__(self, status: int, code: str, why: str) -> None:
        super().__init__(status, why)
        self.code, self.why = code, why


class Guard:
    """See the module's first lines. Who asks is ``scope["state"]["owner"]`` afterwards."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self.hosts = {"localhost", "127.0.0.1", "[::1]", settings.host.lower(), *map(str.lower, settings.names)}
        self.any_host = settings.host in ("0.0.0.0", "::")  # who binds everywhere is called by names unknown here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        try:
            scope.setdefault("state", {})["owner"] = self.admitted(scope)
        except Refused as refused:
            await self._refuse(refused, scope, send)
            return
        await self.app(scope, Body(receive, self.settings.most_bytes).receive, with_headers(send))

    def admitted(self, scope: Scope) -> str:
        """Whose the request is. Raises Refused."""
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        host = headers.get("host", "").lower()
        if not self.any_host and _name(host) not in self.hosts:
            raise Refused(421, "wrong_host", f"the Host {host[:60]!r} is not a name of this server; see --name")
        if method not in SAFE:
            origin, site = headers.get("origin"), headers.get("sec-fetch-site")
            if (origin is not None and urlsplit(origin).netloc.lower() != host) or site in ("cross-site", "same-site"):
                raise Refused(403, "foreign_origin", "this was asked by the page of another site")
        if int(headers.get("content-length", "0") or 0) > self.settings.most_bytes:
            raise Refused(413, "too_large", f"more than {self.settings.most_bytes:,} bytes were sent; send less")
        owner = self.settings.owner(_key(headers))
        if owner is None and path not in OPEN and not path.startswith(PAGE):
            raise Refused(401, "no_key", "a key is needed; send it as 'Authorization: Bearer KEY'")
        return owner or LOCAL

    async def _refuse(self, refused: Refused, scope: Scope, send: Send) -> None:
        status, told = spoken(scope["path"], refused.status_code, {"code": refused.code, "message": refused.why})
        body = json.dumps(told).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(b"connection", b"close")] if refused.status_code == 413 else []
        headers += [(b"www-authenticate", b"Bearer")] if refused.status_code == 401 else []
        await with_headers(send)({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Body:
    """What is sent along: of bounded length, and not waited for for ever."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._left, self._whole = receive, most, False

    async def receive(self) -> Message:
        """The next part. Raises Refused."""
        if self._whole:  # what comes now is that the client has gone, whenever it may
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), PATIENCE_S)
        except TimeoutError:
            raise Refused(408, "too_slow", "what was announced did not come") from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise Refused(413, "too_large", "too many bytes were sent; send less")
        self._whole = not message.get("more_body", False)
        return message


def with_headers(send: Send) -> Send:
    """Sends with the headers that everything has."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sent


def _name(host: str) -> str:
    """A Host without its port."""
    return host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def _key(headers: Headers) -> str | None:
    """The key that a request brings: in its Authorization (where it has a user, as the password), an X-API-Key, or the
    page's cookie."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        return _password(value)
    if "x-api-key" in headers:
        return headers["x-api-key"]
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return None if morsel is None else morsel.value


def _password(credentials: str) -> str | None:
    """The password of "user:password" in base64; None: there is none."""
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return None
