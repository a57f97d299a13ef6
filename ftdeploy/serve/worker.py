"""One worker of ``ftdeploy serve``: the application under uvicorn, on sockets that were bound before it began."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import uvicorn

from ftdeploy.serve.protocol import guarded

if TYPE_CHECKING:
    from ftdeploy.serve.limits import Limits

#: Connections that wait for a worker to take them: while one is replaced, the kernel keeps them here. Linux cuts it to
#: net.core.somaxconn, 4096 by itself.
BACKLOG = 4096


def server_config(app: Any, limits: Limits) -> uvicorn.Config:
    """uvicorn's settings: the one place where they are made.

    Args:
        app: an ASGI application that knows ``lifespan``.
        limits: what a connection may do.
    """
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=guarded(limits),  # type: ignore[arg-type]  # a class does as well as the name of one
        ws="none",
        lifespan="on",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nobody asks for the client's address, and looking for it costs every request
    )
