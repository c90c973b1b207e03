"""The servers of others that `make cluster` and the tests start: how each is called, and on which port."""

from __future__ import annotations

import os
import shutil
import socket
import string
import sys
from collections.abc import Mapping
from pathlib import Path

import pymongo
from pymongo.errors import PyMongoError

from scripts.programs import find_nginx

NGINX_TEMPLATE = Path(__file__).resolve().parent.parent / "deploy" / "nginx.conf.template"


class MissingServer(Exception):
    """A program is not on this machine. Says which one, and what to install."""

    def __init__(self, program: str, fix: str) -> None:
        super().__init__(f"{program} is missing: {fix}")
        self.program = program
        self.fix = fix


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port of the loopback address that nothing listened on a moment ago."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def redis_command(port: int) -> list[str]:
    """Return the command of a Redis that keeps nothing on disk. Raises `MissingServer`."""
    program = shutil.which("redis-server")
    if program is None:
        raise MissingServer("redis-server", "install Redis, for example Debian's package redis-server")
    return [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]


def redis_answers(port: int) -> bool:
    """Return whether a Redis answers at a port of the loopback address."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def mongo_command(port: int, folder: Path, *, keeps: bool = False) -> list[str]:
    """Return the command of a MongoDB-compatible server with its files in `folder`.

    It is `mongod` if there is one, else nx-27017, in memory unless it `keeps` its data over a restart.
    Raises `MissingServer`.
    """
    if mongod := shutil.which("mongod"):
        data = folder / "data"
        data.mkdir(exist_ok=True)
        options = ["--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
        return [mongod, "--dbpath", str(data), *options]
    program = Path(sys.executable).with_name("nx-27017")
    if not program.exists():
        raise MissingServer("mongod", "install MongoDB, or nx-27017 from the extra [dev]")
    files = ["--log-file", str(folder / "nx.log"), "--pid-file", str(folder / "nx.pid")]
    # A folder of databases: in a single file, all of them share their collections.
    data = folder / "databases" if keeps else "memory"
    return [str(program), "--data-dir", str(data), "-p", str(port), *files]


def mongo_answers(port: int) -> bool:
    """Return whether a MongoDB answers at a port of the loopback address."""
    try:
        with pymongo.MongoClient[dict[str, object]](f"mongodb://127.0.0.1:{port}", timeoutMS=500) as client:
            client.admin.command("ping")
    except PyMongoError:
        return False
    return True


def nginx_command(folder: Path, names: Mapping[str, str]) -> list[str]:
    """Write nginx's settings to `folder` and return its command. Raises `MissingServer`.

    `names` fills in deploy/nginx.conf.template, as nginx's own image does from its environment.
    """
    # What is no name of ours, such as $host, is nginx's own.
    return nginx_serving(folder, string.Template(NGINX_TEMPLATE.read_text("utf-8")).safe_substitute(names))


def nginx_serving(folder: Path, sites: str) -> list[str]:
    """Write nginx's settings to `folder`, with these in the context `http`. Raises `MissingServer`."""
    program = find_nginx()
    if program is None:
        raise MissingServer("nginx", "install nginx, for example Debian's package nginx")
    kept = "".join(
        f"{what}_temp_path {folder}/{what};\n"
        for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # As root its workers would be nobody's, who may not enter the folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    text = (
        f"{user}daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log stderr;\n"
        f"events {{ worker_connections 4096; }}\nhttp {{\naccess_log off;\n{kept}{sites}}}\n"
    )
    path = folder / "nginx.conf"
    path.write_text(text, "utf-8")
    return [str(program), "-p", str(folder), "-c", str(path), "-e", "stderr"]
