# SPDX-License-Identifier: Apache-2.0
"""Programs of others that scenarios use and that may be missing."""

import os
import shutil

from process import run
from world import ROOT

TEMPORAL = "github.com/temporalio/cli/cmd/temporal@v1.5.1"
FOLDER = os.path.join(ROOT, "build", "tools")


def temporal():
    """The path of the temporal CLI: $TEMPORAL_CLI, from PATH, or built into build/tools."""
    return os.environ.get("TEMPORAL_CLI") or shutil.which("temporal") or \
        shutil.which("temporal", path=FOLDER)


def missing(tool):
    """Why `tool` cannot be had; None when it is there now."""
    if tool != "temporal":
        return f"no such tool: {tool}"
    if temporal():
        return None
    if not shutil.which("go"):
        return "the temporal CLI is not in PATH, and there is no go to build it with"
    os.makedirs(FOLDER, exist_ok=True)
    done = run(["go", "install", TEMPORAL], timeout=900, check=False, env={"GOBIN": FOLDER})
    if done.returncode != 0:
        return f"the temporal CLI could not be built: {done.stderr.strip()[-300:]}"
    return None
