# SPDX-License-Identifier: Apache-2.0
"""The list of scenarios. A module in ../scenarios registers its own with the decorator."""

import importlib
import os
import sys

SCENARIOS = {}
FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "scenarios")


class Scenario:
    def __init__(self, name, run, deadline, languages, tools, default):
        self.name = name
        self.run = run                # run(world) or, with languages, run(world, language)
        self.deadline = deadline      # seconds for all of it, on the slowest machine we care for
        self.languages = languages    # SDKs it needs
        self.tools = tools            # programs it needs: temporal
        self.default = default        # part of a run without --only or --all

    @property
    def what(self):
        return (self.run.__doc__ or "").strip().split("\n")[0]


def scenario(name, deadline, languages=(), tools=(), default=True):
    """Registers one scenario. It fails by raising; process.Failure says why in a sentence."""
    def register(run):
        SCENARIOS[name] = Scenario(name, run, deadline, tuple(languages), tuple(tools), default)
        return run
    return register


def per_language(name, deadline, default=("python", "go", "typescript"), **options):
    """Registers NAME-python, NAME-go and NAME-typescript; `default` says which run by default. They
    are called with (world, language)."""
    def register(run):
        for language in ("python", "go", "typescript"):
            def bound(world, language=language):
                return run(world, language)
            bound.__doc__ = run.__doc__
            scenario(f"{name}-{language}", deadline, languages=[language],
                     default=language in default, **options)(bound)
        return run
    return register


def load():
    """Imports every module of scenarios, in the order in which they should run."""
    sys.path.insert(0, FOLDER)
    for file in sorted(os.listdir(FOLDER)):
        if file.endswith(".py"):
            importlib.import_module(file[:-3])
    return SCENARIOS
