# SPDX-License-Identifier: Apache-2.0
"""One plain form for every failure, the same in all three languages.

Workflows return it as a part of their result and checks compare it, so that a check reads the same
whether the failure was caught inside a workflow or by the client.
"""

import asyncio
from typing import Any

from temporalio import exceptions as ex


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def describe(err: BaseException | None) -> dict[str, Any]:
    if err is None:
        return {}
    out: dict[str, Any]
    if isinstance(err, ex.ActivityError):
        out = {"kind": "activity", "activity": err.activity_type}
        out["retry"] = camel(err.retry_state.name) if err.retry_state else ""
    elif isinstance(err, ex.ChildWorkflowError):
        out = {"kind": "child", "workflow": err.workflow_type}
        out["retry"] = camel(err.retry_state.name) if err.retry_state else ""
    elif isinstance(err, ex.ApplicationError):
        out = {"kind": "application", "type": err.type or "", "message": err.message}
        out["nonRetryable"] = err.non_retryable
        out["details"] = list(err.details)
    elif isinstance(err, ex.TimeoutError):
        out = {"kind": "timeout", "timeout": camel(err.type.name) if err.type else ""}
        out["details"] = list(err.last_heartbeat_details)
    elif isinstance(err, ex.CancelledError):
        out = {"kind": "canceled", "details": list(err.details)}
    elif isinstance(err, asyncio.CancelledError):
        out = {"kind": "canceled", "details": []}
    elif isinstance(err, ex.TerminatedError):
        out = {"kind": "terminated", "message": err.message}
    else:
        out = {"kind": "other", "type": type(err).__name__, "message": str(err)}
    if isinstance(err, ex.FailureError) and err.cause is not None:
        out["cause"] = describe(err.cause)
    return out
