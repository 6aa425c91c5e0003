# SPDX-License-Identifier: Apache-2.0
"""Child processes of a scenario: started, watched, stopped and killed, their output in files."""

import ctypes
import os
import re
import resource
import shutil
import signal
import subprocess
import time

SLOWER = float(os.environ.get("STRAIT_TEST_SLOWER", "1"))
POLL_S = 0.02
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """Why a scenario failed, in one sentence."""


class Skip(Exception):
    """Why a scenario cannot run on this machine."""


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def prepare_child():
    """A crash leaves a core file in the scenario's folder."""
    die_with_parent()
    limit = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


def backtrace(folder, program):
    """Where a crashed program was, as the debugger sees it; "" without core file or debugger."""
    cores = [name for name in os.listdir(folder) if re.fullmatch(r"core(\.\d+)?", name)]
    if not cores or not shutil.which("gdb"):
        return ""
    core = max((os.path.join(folder, name) for name in cores), key=os.path.getmtime)
    done = subprocess.run(["gdb", "-batch", "-ex", "bt 30", "-ex", "thread apply all bt 12", program,
                           core], capture_output=True, text=True, errors="replace", check=False)
    with open(os.path.join(folder, "backtrace.log"), "a", encoding="utf-8") as file:
        file.write(done.stdout)
    frames = re.findall(r"^#\d+ +(?:0x\w+ in )?(\w+)", done.stdout, re.M)
    return " < ".join(frames[:12])


def tail(path, lines=5):
    """The last lines of a file, as one."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            last = file.read()[-4000:].strip().split("\n")[-lines:]
    except OSError:
        return ""
    return " | ".join(line.strip()[:400] for line in last)


class Process:
    """One program. stdout goes to NAME.out, or with stderr to NAME.log when `merged`; a program
    that is started again appends to the same files. Start it from the main thread: the kernel ties
    the child to the thread that made it."""

    def __init__(self, folder, name, args, env=None, merged=False):
        self.name = name
        self.folder = folder
        self.args = [str(arg) for arg in args]
        self.env = dict(os.environ, **(env or {}))
        self.log = os.path.join(folder, f"{name}.log")
        self.out = self.log if merged else os.path.join(folder, f"{name}.out")
        self.child = None
        self.begin = 0  # where the output of the present run begins
        self.starts = 0

    def start(self):
        self.starts += 1
        with open(self.log, "ab") as log, open(self.out, "ab") as out:
            self.begin = os.fstat(out.fileno()).st_size
            self.child = subprocess.Popen(
                self.args, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=self.env,
                preexec_fn=prepare_child,
                cwd=self.folder)
        return self

    @property
    def pid(self):
        return self.child.pid

    def running(self):
        return self.child is not None and self.child.poll() is None

    def output(self):
        """What the present run has printed."""
        with open(self.out, "rb") as file:
            file.seek(self.begin)
            return file.read().decode(errors="replace")

    def kill(self):
        """SIGKILL; returns when the process is gone."""
        if self.running():
            self.child.kill()
        if self.child:
            self.child.wait()

    def signal(self, number=signal.SIGTERM):
        if self.running():
            self.child.send_signal(number)

    def join(self, timeout):
        """The exit status."""
        try:
            return self.child.wait(timeout * SLOWER)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {timeout:g} s: {tail(self.log)}") from None

    def stop(self, timeout=20):
        """SIGTERM, then the exit status."""
        self.signal()
        return self.join(timeout)

    def memory_peak_mb(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return 0.0

    def died(self):
        """A sentence about an end that nobody ordered."""
        status = self.child.returncode
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        frames = backtrace(self.folder, self.args[0]) if status < 0 else ""
        return f"{self.name} ended by itself, {how}: {frames} {tail(self.log)}"


def run(args, timeout=60, env=None, check=True):
    """Runs a program to its end: a CompletedProcess with text."""
    args = [str(arg) for arg in args]
    try:
        done = subprocess.run(
            args, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=timeout * SLOWER, env=dict(os.environ, **(env or {})), check=False,
            preexec_fn=die_with_parent)
    except subprocess.TimeoutExpired:
        raise Failure(f"no end after {timeout:g} s: {' '.join(args)}") from None
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-800:]
        raise Failure(f"status {done.returncode} from {' '.join(args)}: {said}")
    return done


def poll(probe, timeout, what, watch=None):
    """The first true answer of `probe`. `what` says what was waited for, as text or a function;
    `watch` is called on the way and may raise."""
    end = time.monotonic() + timeout * SLOWER
    pause = POLL_S
    while True:
        got = probe()
        if got:
            return got
        if watch:
            watch()
        if time.monotonic() > end:
            text = what() if callable(what) else what
            raise Failure(f"not so after {timeout * SLOWER:g} s: {text}")
        time.sleep(pause)
        pause = min(pause * 1.2, 0.25)
