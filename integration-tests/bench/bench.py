# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the whole system: real nodes, databases, NATS, and the load generator. Prints
figures and ratios; asserts none. Exit status 1 when something could not be measured."""

import argparse
import json
import os
import shutil
import sys
import time
import traceback

sys.path.insert(1, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

os.environ.setdefault("STRAIT_TEST_MEMORY_MB", "1000000")  # here it is a figure, not a bound

# pylint: disable=wrong-import-position
import measure
import part_database
import part_pair
import part_start
import report
from process import Failure
from world import ROOT, World, strait

DATABASES = ("postgres", "mariadb", "sqlite")
ALONE = ("start", "dev")
PAIR = ("idle", "replication", "apply", "sustained", "failover")  # in one world, idle comes first
PARTS = (*DATABASES, *ALONE, *PAIR)
SCENARIOS = ("noop", "activity", "timer", "signal")


class Plan:
    """How long everything takes."""

    def __init__(self, args):
        quick = args.quick
        self.scenarios = args.scenarios
        self.concurrency = args.concurrency
        self.warm_s = 1
        self.run_s = args.seconds or (2 if quick else 10)
        self.half_s = args.seconds or (2 if quick else 10)
        self.floor_s = 1 if quick else 3
        self.starts = 3 if quick else 7
        self.idle_s = 5 if quick else 20
        self.lag_s = 5 if quick else 20
        self.sustained_s = 5 if quick else 30
        self.failovers = 2 if quick else 6


def names(allowed):
    def parse(text):
        found = [name for name in text.split(",") if name]
        for name in found:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name}: there are {', '.join(allowed)}")
        return found
    return parse


def arguments():
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__)
    parser.add_argument("--only", type=names(PARTS), default=list(PARTS), metavar="PART,..",
                        help=f"of {', '.join(PARTS)}")
    parser.add_argument("--scenarios", type=names(SCENARIOS), default=list(SCENARIOS),
                        metavar="NAME,..", help=f"of the databases: {', '.join(SCENARIOS)}")
    parser.add_argument("--quick", action="store_true", help="short runs: about two minutes")
    parser.add_argument("--seconds", type=int, help="of each run of load (default 10, quick 2)")
    parser.add_argument("--concurrency", type=int,
                        help="operations under way (default: by scenario)")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    return parser.parse_args()


class Bench:
    def __init__(self, args):
        self.plan = Plan(args)
        self.folder = os.path.join(ROOT, "build", "bench")
        self.text = args.output == "text"
        self.result = {"quick": args.quick, "machine": {}, "parts": {}, "failed": {}}
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)

    def world(self, name):
        folder = os.path.join(self.folder, name)
        os.makedirs(folder)
        return World(folder, seed=1)

    def fail(self, name, error):
        reason = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
        self.result["failed"][name] = reason
        print(f"FAILED {name}: {reason}", file=sys.stderr, flush=True)
        with open(os.path.join(self.folder, "trace.log"), "a", encoding="utf-8") as file:
            file.write(f"== {name}\n{traceback.format_exc()}\n")

    def measure(self, name, function, *args):
        """One part: its figures, or why there are none."""
        print(f"-- {name}", file=sys.stderr, flush=True)
        begin = time.monotonic()
        try:
            figures = function(*args)
        except Exception as error:  # the other parts can still be measured
            self.fail(name, error)
            return
        figures["took_s"] = round(time.monotonic() - begin, 1)
        self.result["parts"][name] = figures
        if self.text:
            report.part(name, figures)

    def end(self, name, world):
        """Stops a world; what its logs complain about is a failure as well."""
        try:
            if name not in self.result["failed"]:
                world.close()
        except Exception as error:
            self.fail(f"{name}, at its end", error)
        finally:
            world.abandon()

    def alone(self, name):
        world = self.world(name)
        try:
            if name in DATABASES:
                self.measure(name, part_database.database, world, name, self.plan)
            else:
                self.measure(name, getattr(part_start, name), world, self.plan)
        finally:
            self.end(name, world)

    def pair(self, chosen):
        world = self.world("pair")
        found = {}  # what one part learns for the next
        try:
            us, eu = part_pair.open_pair(world)
            for name in chosen:
                if name == "idle":
                    self.measure(name, part_start.idle, [us, eu], self.plan)
                elif name == "replication":
                    self.measure(name, part_pair.replication, world, us, eu, self.plan)
                else:
                    function = part_pair.apply_cost if name == "apply" else getattr(part_pair, name)
                    self.measure(name, function, world, us, eu, self.plan, found)
        except Exception as error:
            for name in chosen:
                if name not in self.result["parts"] and name not in self.result["failed"]:
                    self.fail(name, error)
        finally:
            self.end("pair", world)

    def run(self, chosen):
        self.result["machine"] = measure.machine(self.folder)
        if self.text:
            report.machine(self.result["machine"])
        for name in (*DATABASES, *ALONE):
            if name in chosen:
                self.alone(name)
        together = [name for name in PAIR if name in chosen]
        if together:
            self.pair(together)
        self.result["targets"] = report.targets(self.result["parts"])
        if self.text:
            report.summary(self.result)
        else:
            print(json.dumps(self.result, indent=1))
        return 1 if self.result["failed"] else 0


def main():
    args = arguments()
    if not os.access(strait(), os.X_OK):
        print(f"run.sh: {strait()} is not there: run make first", file=sys.stderr)
        return 2
    return Bench(args).run(args.only)


if __name__ == "__main__":
    sys.exit(main())
