# SPDX-License-Identifier: Apache-2.0
"""Runs scenarios, each in a process and a folder of its own, and prints what became of them. The
last line is exactly `N passed, N failed, N skipped`; exit status 1 when one failed."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import nats  # noqa: E402
import registry  # noqa: E402
import sdk  # noqa: E402
import tools  # noqa: E402
from process import Failure, SLOWER, Skip  # noqa: E402
from world import ROOT, World, strait  # noqa: E402

SKIP_STATUS = 77
COLLECT_S = 15  # a scenario that is told to end writes what it knows


def arguments():
    parser = argparse.ArgumentParser(prog="run.sh", description="Scenarios with real processes.")
    parser.add_argument("--list", action="store_true", help="name the scenarios and what they show")
    parser.add_argument("--only", default="", metavar="NAME,..",
                        help="these scenarios; a trailing * stands for any ending")
    parser.add_argument("--all", action="store_true", help="also those that are not run by default")
    parser.add_argument("--sdk", default=",".join(sdk.LANGUAGES), metavar="LANG,..",
                        help="python, go, typescript: scenarios of other SDKs are left out")
    parser.add_argument("--seed", type=int, default=None, help="default: the time")
    parser.add_argument("--scale", type=float, default=1.0,
                        help="multiplies load, kills and repetitions (default 1)")
    parser.add_argument("--jobs", type=int, default=1, help="scenarios at the same time (default 1)")
    parser.add_argument("--keep", action="store_true", help="keep the folders of what passed")
    parser.add_argument("--run-one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def pick(args, scenarios):
    languages = [name for name in args.sdk.split(",") if name]
    wanted = [name for name in args.only.split(",") if name]
    unknown = [name for name in languages if name not in sdk.LANGUAGES]
    if unknown:
        sys.exit(f"run.sh: no such SDK: {', '.join(unknown)}; there are {', '.join(sdk.LANGUAGES)}")
    found = []
    for name, scenario in scenarios.items():
        if any(language not in languages for language in scenario.languages):
            continue
        if wanted:
            if any(name == w or w.endswith("*") and name.startswith(w[:-1]) for w in wanted):
                found.append(scenario)
        elif scenario.default or args.all:
            found.append(scenario)
    if not found:
        print("run.sh: no such scenario; --list names them", file=sys.stderr)
        sys.exit(2)
    return found


# ---- one scenario, in its own process ---------------------------------------------------------


def run_one(args):
    scenario = registry.load()[args.run_one]
    world = World(args.folder, args.seed, args.scale)

    def told_to_end(_number, _frame):
        raise Failure(f"deadline: not done after {scenario.deadline * SLOWER:g} s")
    signal.signal(signal.SIGTERM, told_to_end)
    status, reason = 0, ""
    try:
        scenario.run(world)
        world.close()
    except Skip as skip:
        status, reason = SKIP_STATUS, str(skip)
    except Failure as failure:
        status, reason = 1, str(failure)
        traceback.print_exc()
    except Exception as error:  # a broken scenario is a failed one
        status, reason = 1, f"{type(error).__name__}: {error}"
        traceback.print_exc()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        world.abandon()
    except Exception:  # the databases' keepers end them anyhow
        traceback.print_exc()
    with open(os.path.join(args.folder, "result"), "w", encoding="utf-8") as file:
        file.write("\n".join([reason.replace("\n", " "), *world.notes]) + "\n")
    return status


# ---- all of them ------------------------------------------------------------------------------


class Running:
    """A scenario under way."""

    def __init__(self, scenario, args, folder):
        self.scenario = scenario
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        self.begin = time.monotonic()
        self.ordered = None
        command = [sys.executable, os.path.abspath(__file__), "--run-one", scenario.name, "--folder",
                   folder, "--seed", str(args.seed), "--scale", str(args.scale)]
        with open(os.path.join(folder, "scenario.log"), "wb") as log:
            self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          start_new_session=True)

    @property
    def seconds(self):
        return time.monotonic() - self.begin

    def poll(self, scale):
        """The exit status once it is over."""
        limit = self.scenario.deadline * SLOWER * max(scale, 1.0)
        if self.ordered is None and self.seconds > limit:
            self.child.terminate()
            self.ordered = self.seconds
        elif self.ordered is not None and self.seconds > self.ordered + COLLECT_S:
            self.end()
        return self.child.poll()

    def end(self):
        """Takes the whole group with it."""
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def result(self):
        try:
            with open(os.path.join(self.folder, "result"), encoding="utf-8") as file:
                reason, *notes = file.read().rstrip("\n").split("\n")
            return reason, notes
        except OSError:
            return "it ended without a result: see scenario.log", []


class Report:
    def __init__(self, args):
        self.args = args
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}

    def skip(self, name, reason):
        self.counts["skipped"] += 1
        print(f"skip {name}: {reason}", flush=True)

    def finish(self, running, status):
        scenario, (reason, notes) = running.scenario, running.result()
        running.end()
        if status == SKIP_STATUS:
            return self.skip(scenario.name, reason)
        if status == 0:
            self.counts["passed"] += 1
            print(f"ok {scenario.name} ({running.seconds:.1f} s)")
        else:
            self.counts["failed"] += 1
            print(f"FAIL {scenario.name}: {reason}")
            print(f"     after {running.seconds:.1f} s, seed {self.args.seed}; again: "
                  f"integration-tests/run.sh --only {scenario.name} --seed {self.args.seed}"
                  + (f" --scale {self.args.scale:g}" if self.args.scale != 1 else ""))
            print(f"     logs: {os.path.relpath(running.folder, ROOT)}/")
        for note in notes:
            print(f"     {note}")
        sys.stdout.flush()
        if status == 0 and not self.args.keep:
            drop_bulk(running.folder)

    def last_line(self):
        counts = self.counts
        print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")


def drop_bulk(folder):
    """Of what passed, only the logs stay."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
        elif not name.endswith((".log", ".yaml")):
            os.remove(path)


def prepare(args, chosen, report):
    """Makes the SDK programs and finds the tools; scenarios that cannot run are skipped aloud."""
    missing = {}
    for language in sdk.LANGUAGES:
        if any(language in scenario.languages for scenario in chosen):
            reason = sdk.set_up(language)
            if reason:
                missing[language] = reason
    for tool in sorted({tool for scenario in chosen for tool in scenario.tools}):
        reason = tools.missing(tool)
        if reason:
            missing[tool] = reason
    able = []
    for scenario in chosen:
        reasons = [missing[need] for need in (*scenario.languages, *scenario.tools) if need in missing]
        if reasons:
            report.skip(scenario.name, reasons[0])
        else:
            able.append(scenario)
    if any("python" in scenario.languages for scenario in chosen) and "python" in missing:
        print("FAIL setup: the Python SDK is needed always")
        report.counts["failed"] += 1
    return able


def run_all(args, chosen):
    report = Report(args)
    try:
        waiting = prepare(args, chosen, report)
    except Failure as failure:
        print(f"FAIL setup: {failure}")
        report.counts["failed"] += 1
        waiting = []
    if any(scenario.name.startswith("features-") for scenario in waiting):
        for check, reason in sdk.NOT_YET.items():
            print(f"without check {check}: {reason}")
    print(f"seed {args.seed}", flush=True)
    running = []
    try:
        while waiting or running:
            while waiting and len(running) < args.jobs:
                scenario = waiting.pop(0)
                folder = os.path.join(ROOT, "build", "integration", scenario.name)
                running.append(Running(scenario, args, folder))
            time.sleep(0.05)
            for one in list(running):
                status = one.poll(args.scale)
                if status is not None:
                    running.remove(one)
                    report.finish(one, status)
    finally:
        for one in running:
            one.end()
    report.last_line()
    return 1 if report.counts["failed"] else 0


def main():
    args = arguments()
    if args.seed is None:
        args.seed = int(time.time()) % 1_000_000
    if args.run_one:
        return run_one(args)
    scenarios = registry.load()
    if args.list:
        for scenario in scenarios.values():
            print(f"{scenario.name:26} {'' if scenario.default else '(--all) '}{scenario.what}")
        return 0
    chosen = pick(args, scenarios)
    if not os.access(strait(), os.X_OK):
        print(f"run.sh: {strait()} is not there: run make first", file=sys.stderr)
        return 2
    if not nats.find_server():
        print("run.sh: no nats-server: run make deps first, or set STRAIT_NATS_SERVER", file=sys.stderr)
        return 2
    return run_all(args, chosen)


if __name__ == "__main__":
    sys.exit(main())
