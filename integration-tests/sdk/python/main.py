# SPDX-License-Identifier: Apache-2.0
"""The command line. Its contract is in ../README.md and the same in every language."""

import argparse
import asyncio
import sys
import traceback
import uuid

import connection


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="sdk")
    subs = top.add_subparsers(dest="command", required=True)
    for name in ("worker", "client"):
        sub = subs.add_parser(name)
        sub.add_argument("--address", default="127.0.0.1:7233")
        sub.add_argument("--namespace", default="default")
        sub.add_argument("--task-queue", default="sdk-test")
        sub.add_argument("--effects")
    sub.add_argument("case", choices=CASES)
    sub.add_argument("--count", type=int, default=1)
    sub.add_argument("--seed", type=int, default=1)
    sub.add_argument("--id-prefix")
    sub.add_argument("--timeout", type=float, default=60.0)
    sub.add_argument("--journal", action="append", default=[])
    # features
    sub.add_argument("--only", default="")
    sub.add_argument("--skip", default="")
    sub.add_argument("--list", action="store_true")
    sub.add_argument("--jobs", type=int, default=8)
    # start
    sub.add_argument("--activity-ms", type=int, default=500)
    sub.add_argument("--heartbeat-ms", type=int, default=5000)
    sub.add_argument("--timer-ms", type=int, default=500)
    sub.add_argument("--failures", type=int, default=2)
    sub.add_argument("--backoff-ms", type=int, default=200)
    sub.add_argument("--approvals", type=int, default=1)
    # signal, load
    sub.add_argument("--rate", type=float, default=10.0)
    sub.add_argument("--for", dest="seconds", type=float)
    return top


CASES = ["features", "start", "signal", "finish", "load", "verify"]


def main() -> int:
    args = parser().parse_args()
    connection.logs_to_stderr()
    try:
        return run(args)
    except Exception:
        traceback.print_exc()
        return 1


def run(args) -> int:
    if args.command == "worker":
        import worker

        return asyncio.run(worker.main(args))
    if args.id_prefix is None:
        if args.case != "features":
            print(f"sdk: {args.case} needs --id-prefix", file=sys.stderr)
            return 2
        args.id_prefix = "f-" + uuid.uuid4().hex[:8]
    if args.case in ("signal", "load") and len(args.journal) != 1:
        print(f"sdk: {args.case} needs one --journal", file=sys.stderr)
        return 2
    if args.case == "features":
        import features

        return asyncio.run(features.main(args))
    import orders
    import load

    case = {
        "start": orders.start,
        "signal": orders.signal,
        "finish": orders.finish,
        "load": load.load,
        "verify": load.verify,
    }[args.case]
    return asyncio.run(case(args))


if __name__ == "__main__":
    connection.leave(main())
