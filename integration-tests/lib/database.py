# SPDX-License-Identifier: Apache-2.0
"""The database of one cluster: a private server started by databases.sh, or an SQLite file."""

import os
import shutil
import sqlite3

from process import Failure, run

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "databases.sh")
NAME = "strait"


class Sqlite:
    kind = "sqlite"

    def __init__(self, world, name):
        self.file = os.path.join(world.folder, f"{name}.db")

    def config(self):
        return {"driver": "sqlite", "file": self.file}

    def sql(self, statement, *values):
        """Runs a statement beside the node; rows as tuples."""
        with sqlite3.connect(self.file, timeout=10) as connection:
            rows = connection.execute(statement, values).fetchall()
        connection.close()
        return rows

    def stop(self):
        pass


class Server:
    """PostgreSQL or MariaDB. It ends with this process, however this process ends."""

    def __init__(self, world, name, kind):
        self.kind = kind
        self.name = name
        self.folder = world.folder
        done = run([SCRIPT, "start", kind, os.getpid()], timeout=120)
        settings = dict(line.split("=", 1) for line in done.stdout.split("\n") if "=" in line)
        self.dir = settings["dir"]
        self.settings = settings
        run([SCRIPT, "create", self.dir, NAME])

    def config(self):
        return {"driver": self.kind, "host": self.settings["host"], "port": self.settings["port"],
                "user": self.settings["user"], "name": NAME, "tls": "disable"}

    def sql(self, statement):
        """Bare text of what the server prints."""
        return run([SCRIPT, "sql", self.dir, NAME, statement]).stdout

    def cut_connections(self):
        """Cuts every client; those that are alive come back at once."""
        if self.kind == "postgres":
            self.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                     "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
            return
        clients = self.sql("SELECT id FROM information_schema.processlist "
                           "WHERE id <> CONNECTION_ID() AND user <> 'system user'")
        for client in clients.split():
            run([SCRIPT, "sql", self.dir, NAME, f"KILL CONNECTION {client}"], check=False)

    def crash(self):
        run([SCRIPT, "crash", self.dir])

    def restart(self):
        run([SCRIPT, "restart", self.dir, os.getpid()], timeout=120)

    def stop(self):
        log = os.path.join(self.dir, "log")
        if os.path.exists(log):
            shutil.copy(log, os.path.join(self.folder, f"{self.kind}-{self.name}.log"))
        run([SCRIPT, "stop", self.dir], check=False)


def open_database(world, name, kind):
    if kind == "sqlite":
        return Sqlite(world, name)
    if kind in ("postgres", "mariadb"):
        return Server(world, name, kind)
    raise Failure(f"unknown kind of database: {kind}")
