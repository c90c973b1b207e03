"""No socket leaves loopback: the worker's system calls during a whole call of the demo."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.support import programs
from tests.support.calls import place_call
from tests.support.deployment import ROOT, livekit_environment
from tests.support.livekit import LiveKitServer
from tests.support.person import joined
from tests.support.worker import WorkerProcess

# What connects, and what sends: by -yy the watch tells the peer of a connected socket with each.
CALLS = "connect,sendto,sendmsg,sendmmsg,write,writev"
# WebRTC asks the kernel by which of its addresses a packet would leave, with a UDP socket that is
# connected and closed (QueryDefaultLocalAddress in its rtc_base/network.cc). Nothing is sent on it.
ROUTE_QUESTIONS = {("8.8.8.8", 53), ("2001:4860:4860::8888", 53)}
# Who looks names up for others: asking them is a look-up, too.
RESOLVERS = ("nscd", "resolve", "dbus", "avahi", "sssd")


def strace(output: Path) -> list[str]:
    """Return the command that watches another one; skip where there is none or it may not."""
    program = shutil.which("strace")
    if program is None:
        programs.without("strace", "install the package strace")
    command = [program, "-f", "-yy", "--seccomp-bpf", "-qq", "-s", "0"]
    command += ["-e", f"trace={CALLS}", "-o", str(output)]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False, timeout=30)
    if tried.returncode:
        programs.without("strace", f"it may not watch here: {tried.stderr.strip()}")
    return command


@dataclass(frozen=True)
class Peer:
    """One end of the network in a system call: `protocol` is the socket's, in strace's own words."""

    call: str
    protocol: str
    address: str
    port: int

    @property
    def outside(self) -> bool:
        """Whether this is not this machine."""
        return not ipaddress.ip_address(self.address).is_loopback

    @property
    def only_a_route(self) -> bool:
        """Whether this is WebRTC's question to the kernel, and no packet."""
        udp = self.protocol.startswith("UDP")
        return self.call == "connect" and udp and (self.address, self.port) in ROUTE_QUESTIONS


_CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)(?: resumed>|\()")
_PROTOCOL = re.compile(r"\(\d+<(\w+):\[")
# 39133<TCP:[127.0.0.1:40000->127.0.0.1:7880]>, or with IPv6 …->[::1]:7880]>
_CONNECTED = re.compile(r"<(?:TCP|UDP)(?:[^<>]|->)*?->\[?([0-9a-f.:]+?)\]?:(\d+)\]>")
_INET = re.compile(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)')
_INET6 = re.compile(r'sin6_port=htons\((\d+)\).*?inet_pton\(AF_INET6, "([^"]+)"')
_UNIX = re.compile(r'sun_path=@?"([^"]*)"')


def peers(trace: Path) -> set[Peer]:
    """Return whom the watched processes connected or sent to."""
    found = set()
    for line in trace.read_text("utf-8", "replace").splitlines():
        call = match[1] if (match := _CALL.search(line)) else ""
        protocol = match[1] if (match := _PROTOCOL.search(line)) else ""
        named = [(address, port) for pattern in (_INET, _INET6) for port, address in pattern.findall(line)]
        for address, port in [*named, *_CONNECTED.findall(line)]:
            found.add(Peer(call, protocol, address, int(port)))
    return found


def lookups(trace: Path) -> set[str]:
    """Return who was asked for names, on this machine too."""
    asked = {f"{one.address}:53" for one in peers(trace) if one.port == 53 and not one.only_a_route}
    paths = set(_UNIX.findall(trace.read_text("utf-8", "replace")))
    return asked | {path for path in paths if any(name in path for name in RESOLVERS)}


@dataclass
class WatchedWorker(WorkerProcess):
    """A worker under strace, with all its children and threads."""

    watch: list[str] = field(default_factory=list)

    def begin(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.watch, sys.executable, "-m", "webcall.worker", "start"],
                cwd=ROOT,
                env=self._whole_environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self) -> None:
        """Stop the worker as an operator would, and wait until the watch has ended, too."""
        assert self.process is not None
        [worker] = psutil.Process(self.process.pid).children()
        worker.terminate()
        self.process.wait(30)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace"


@pytest.fixture
def watched_worker(livekit_server: LiveKitServer, tmp_path: Path, trace: Path) -> Iterator[WatchedWorker]:
    name = f"agent-{secrets.token_hex(4)}"
    environment = livekit_environment(livekit_server)
    worker = WatchedWorker(environment, tmp_path / "worker.log", name, watch=strace(trace))
    try:
        worker.start()
        yield worker
    finally:
        worker.stop()


def test_no_socket_leaves_loopback(
    livekit_server: LiveKitServer, watched_worker: WatchedWorker, trace: Path
) -> None:
    """From the start to the end of the worker, with typed and spoken turns, every peer is loopback."""

    async def run() -> None:
        call = place_call(livekit_server, agent_name=watched_worker.agent_name)
        async with joined(call) as person:
            await person.until(lambda: "Ada" in " ".join(person.words()), 60)
            await person.reply_to("What time is it?", 60)
            await person.until(lambda: person.loud_frames > 50, 60)
            await person.ask_aloud("What time is it?", "UTC", 60)
            await person.type("Goodbye!")
            await person.until(person.disconnected.is_set, 60)
        call = place_call(livekit_server, agent_name=watched_worker.agent_name, text_only=True)
        async with joined(call) as person:
            await person.reply_to("What time is it?", 60)

    asyncio.run(run())
    watched_worker.end()
    seen = peers(trace)
    assert any(one.call == "connect" and one.port == livekit_server.port for one in seen)
    assert any(one.call == "sendto" and one.protocol == "UDP" for one in seen)
    assert [one for one in seen if one.outside and not one.only_a_route] == []
    assert lookups(trace) == set()


# What leaves without a packet on the way: a broadcast that may not be sent, TCP to a multicast address.
LEAVES = """
import contextlib, socket, threading
def leave():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
        tcp.connect(("224.0.0.1", 443))
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(b"x", ("255.255.255.255", 9))
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(("127.0.0.1", 53))
        udp.send(b"x")
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as local:
        local.connect("/nowhere/nscd/socket")
one = threading.Thread(target=leave); one.start(); one.join()
"""
# As strace wrote them of a look-up, and of a socket like WebRTC's that does send.
RECORDED = """\
7 connect(3<UDP:[4847]>, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("8.8.8.8")}, 16) = 0
7 sendto(3<UDP:[192.0.2.2:60534->8.8.8.8:53]>, ""..., 1, 0, NULL, 0) = 1
7 sendmmsg(3<UDP:[192.0.2.2:52839->192.0.2.53:53]>, [...], 2, MSG_NOSIGNAL) = 2
7 write(5<TCPv6:[[2001:db8::2]:4000->[2001:db8::1]:443]>, ""..., 9) = 9
7 <... connect resumed>, {sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), \
inet_pton(AF_INET6, "2001:db8::3", &sin6_addr), sin6_scope_id=0}, 28) = 0
"""


def test_the_watch_sees_what_it_looks_for(trace: Path) -> None:
    """Connections, packets and look-ups that leave are in what the watch sees, from threads too."""
    subprocess.run([*strace(trace), sys.executable, "-c", LEAVES], check=True, timeout=60)
    left = {(one.call, one.address) for one in peers(trace) if one.outside}
    assert left == {("connect", "224.0.0.1"), ("sendto", "255.255.255.255")}
    assert lookups(trace) >= {"127.0.0.1:53", "/nowhere/nscd/socket"}
    trace.write_text(RECORDED)
    left = {(one.call, one.address) for one in peers(trace) if one.outside and not one.only_a_route}
    assert left == {
        ("sendto", "8.8.8.8"),
        ("sendmmsg", "192.0.2.53"),
        ("write", "2001:db8::1"),
        ("connect", "2001:db8::3"),
    }
    assert lookups(trace) == {"8.8.8.8:53", "192.0.2.53:53"}
