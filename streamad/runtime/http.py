"""Health and numbers over HTTP: three pages for whoever looks after the process, and nothing of its records."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from streamad.errors import UserError
from streamad.runtime.metrics import CONTENT_TYPE, Exposition

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from starlette.requests import Request

    from streamad.runtime.watch import Watch

_CONNECTIONS, _SECONDS = 64, 5.0
"""How many there may be at a time, and how long one may last: enough for a question and its answer."""

_STOP_SECONDS = 2.0


class _Brief(H11Protocol):
    """Closes what is slow or too much, so that nobody outside can use up the process's files."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(_SECONDS, transport.abort)
        if len(self.connections) > _CONNECTIONS:
            transport.abort()


@contextmanager
def serving(listen: str, watch: Watch) -> Iterator[int]:
    """Answer at `listen` (HOST:PORT) from a thread; gives the port. Raises `UserError` where it is not to be had.

    By Starlette and uvicorn, which run in a thread and leave the process's signals alone there.
    """
    with _bound(listen) as listener:
        config = uvicorn.Config(
            _pages(watch),
            http=_Brief,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",  # what strangers send is not worth a line
            access_log=False,
            proxy_headers=False,
            server_header=False,
            headers=[("connection", "close"), ("cache-control", "no-store")],
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), name="http", daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(_STOP_SECONDS)


def _bound(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), int(port)), family=family)
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]  # without the address once more
        raise UserError(f"http.listen: {listen} cannot be listened at: {why}") from None


def _pages(watch: Watch) -> Starlette:
    exposition = Exposition(watch)

    async def healthz(_: Request) -> PlainTextResponse:
        return _answer("; ".join(watch.verdict.red))

    async def readyz(_: Request) -> PlainTextResponse:
        return _answer(watch.verdict.unready)

    async def metrics(_: Request) -> PlainTextResponse:
        return PlainTextResponse(exposition.text(), media_type=CONTENT_TYPE)

    pages = Starlette(routes=[Route(f"/{page.__name__}", page) for page in (healthz, readyz, metrics)])
    pages.router.redirect_slashes = False
    return pages


def _answer(trouble: str) -> PlainTextResponse:
    return PlainTextResponse(f"{trouble or 'ok'}\n", 503 if trouble else 200)
