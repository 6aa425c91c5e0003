# SPDX-License-Identifier: Apache-2.0
"""Connecting, and keeping stdout for our own lines."""

import logging
import os
import socket
import sys
from datetime import timedelta

from temporalio.client import Client

CONNECT_SECONDS = 10


def logs_to_stderr() -> None:
    """The SDK's core writes its log to file descriptor 1: that becomes stderr, and print() keeps
    the real stdout."""
    own = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(own, "w", encoding="utf-8")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)


def leave(status: int) -> None:
    """Exits without tearing the interpreter down: the core's threads, still alive then, now and
    then abort the process on the way (PyGILState_Release while finalizing)."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


async def connect(args, role: str) -> Client:
    return await Client.connect(
        args.address,
        namespace=args.namespace,
        identity=f"python-{role}@{socket.gethostname()}:{os.getpid()}",
        connect_timeout=timedelta(seconds=CONNECT_SECONDS),
    )
