"""Dockerfile and compose.yaml, without a Docker daemon: held to the code and to the programs they call."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from packaging.requirements import Requirement

from scripts import livekit_server
from scripts.servers import NGINX_TEMPLATE
from tests.support.deployment import ROOT, MakeApp
from webcall.config.settings import Config
from webcall.core.model_table import PROVIDERS
from webcall.startup import prepare

GIVEN = {
    "PUBLIC_IP": "192.0.2.1",
    "LIVEKIT_PUBLIC_URL": "wss://livekit.example.com",
    "LIVEKIT_API_KEY": "APIexample",
}
SECRETS = {
    "livekit_api_secret": "s" * 40,
    "livekit_keys": f"APIexample: {'s' * 40}",
    "mongodb_uri": "mongodb://webcall:password@mongo:27017/?authSource=admin",
    "mongodb_password": "password",
    "metrics_token": "m" * 40,
}

DOCKERFILE = (ROOT / "Dockerfile").read_text()
CONFIG = (ROOT / "config.yaml").read_text()


def filled_in(text: str) -> str:
    """Return compose.yaml as Compose reads it, with the variables that it requires."""

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found["name"], found["kind"], found["rest"] or ""
        if kind == ":?" and name not in GIVEN:
            raise AssertionError(f"{name} is required, and not in the documentation")
        return GIVEN.get(name, rest if kind == ":-" else "")

    return re.sub(r"\$\{(?P<name>\w+)(?:(?P<kind>:[-?])(?P<rest>[^}]*))?\}", value, text)


COMPOSE: dict[str, Any] = yaml.safe_load(filled_in((ROOT / "compose.yaml").read_text()))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if str(service["image"]).startswith("webcall")]


def stages() -> dict[str, str]:
    """Return the Dockerfile's stages, and what each of them says."""
    parts = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def target(name: str) -> str:
    """Return the Dockerfile's stage that a service runs."""
    of_image = {
        service["image"]: service["build"]["target"] for service in SERVICES.values() if "build" in service
    }
    return str(of_image[SERVICES[name]["image"]])


def environment(name: str) -> dict[str, str]:
    """Return what a container of ours finds in its environment."""
    of_image = dict(re.findall(r"\b(WEBCALL_\w+)=(\S+)", stages()[target(name)]))
    return of_image | {key: str(value) for key, value in SERVICES[name]["environment"].items()}


def checked(name: str, folder: Path) -> Config:
    """Return the settings of a container of ours, with its secrets in files of `folder`."""
    found = environment(name)
    for variable in found:
        assert "${" + variable.removesuffix("_FILE") in CONFIG, variable
    for variable, value in found.items():
        if variable.endswith("_FILE"):
            secret = value.removeprefix("/run/secrets/")
            assert secret in SERVICES[name]["secrets"], variable
            (folder / secret).write_text(SECRETS[secret] + "\n")
            found[variable] = str(folder / secret)
    return prepare(environ=found | {"WEBCALL_CONFIG": str(ROOT / "config.yaml")}).config


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name: str, tmp_path: Path) -> None:
    """Each variable is one of config.yaml, each secret is shown to its reader, and the values are taken."""
    config = checked(name, tmp_path)
    assert config.livekit.api_secret == SECRETS["livekit_api_secret"]
    assert config.livekit.server_url == (
        "ws://nginx:7880" if name == "worker" else GIVEN["LIVEKIT_PUBLIC_URL"]
    )


def test_secrets_are_declared_and_used() -> None:
    """Each secret comes from a file of its own, which no image and no commit holds."""
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", ())}
    assert used == COMPOSE["secrets"].keys() == SECRETS.keys()
    assert {item["file"] for item in COMPOSE["secrets"].values()} == {f"./secrets/{name}" for name in used}
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_worker_alone_gets_keys_of_providers() -> None:
    """They come from a file that may be missing, that no commit holds, and that no setting overrides."""
    got = {name: service["env_file"] for name, service in SERVICES.items() if "env_file" in service}
    of_the_service = {name: "service.env" for name in OURS if name != "worker"}
    wanted = of_the_service | {"worker": "worker.env"}
    assert got == {name: [{"path": path, "required": False}] for name, path in wanted.items()}
    assert {f"/{path}" for path in wanted.values()} <= {*(ROOT / ".gitignore").read_text().splitlines()}
    kinds = [kind for provider in PROVIDERS.values() for kind in provider.kinds.values()]
    keys = {variable for kind in kinds for variable in kind.keys}
    assert keys
    assert not keys & SERVICES["worker"]["environment"].keys()


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_confined(name: str) -> None:
    """No root, no capability, no writing but to memory and volumes, bounds on all of it, a health check."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()
    assert "unprivileged" in service["image"] or int(service["user"].partition(":")[0]) > 0
    assert "privileged" not in service
    assert "network_mode" not in service
    if "healthcheck" not in service:
        assert "HEALTHCHECK" in stages()[target(name)]
    for waits_for, how in service.get("depends_on", {}).items():
        assert waits_for in SERVICES
        assert how["condition"] in ("service_healthy", "service_completed_successfully")


def test_providers_leave_the_locked_packages() -> None:
    """What comes beside the lock is chosen to fit it: a plugin asks for the livekit-agents of its number."""
    [beside] = re.findall(r"RUN if \[ -n \"\$PROVIDERS\" \];.*?\bfi$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert re.search(r"> (\S+) .*--constraint \1 ", beside, re.DOTALL)
    [making] = re.findall(r"sed .*(?= >)", beside)
    assert f"{making} >" in (ROOT / "docs" / "deploy.md").read_text("utf-8")
    told = subprocess.run(["sh", "-c", making], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = (ROOT / "requirements-worker.lock").read_text("utf-8").splitlines()
    assert told.splitlines() == [line.removesuffix(" \\") for line in lines if re.match(r"\w", line)]
    assert all(Requirement(line).specifier for line in told.splitlines())


def test_what_is_copied_is_there() -> None:
    """Each file that an image takes exists and is let through by .dockerignore; each target is a stage."""
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    found = stages()
    for source, name in re.findall(r"^COPY --from=(\S+) (\S+)", DOCKERFILE, re.MULTILINE):
        assert name == "/opt/webcall"
        assert name in found[source]
    for sources in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for path in sources.split():
            assert (ROOT / path).exists(), path
            assert any(fnmatch(path, one) for one in let_through), path
    assert {target(name) for name in OURS} == {"service", "worker"}
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (ROOT / source).is_file() if source.startswith("./") else source in COMPOSE["volumes"]
    assert "USER 10001:10001" in found["base"]


def test_ports_agree() -> None:
    """Who is called at a port listens there: nginx, the services, LiveKit, the watcher, and health checks."""
    nginx = SERVICES["nginx"]["environment"]
    for number in ("1", "2"):
        assert nginx[f"WEBCALL_{number}"].split() == [f"webcall-{number}:8000", "resolve"]
        assert environment(f"webcall-{number}")["WEBCALL_BIND"] == "0.0.0.0:8000"
        assert nginx[f"LIVEKIT_{number}"].split() == [f"livekit-{number}:7880", "resolve"]
    assert {port.split(":", 1)[1] for port in SERVICES["nginx"]["ports"]} == {
        f"{nginx[name]}:{nginx[name]}" for name in ("WEBCALL_LISTEN", "LIVEKIT_LISTEN")
    }
    for name in ("webcall-1", "worker"):
        assert environment(name)["LIVEKIT_URL"] == f"ws://nginx:{nginx['LIVEKIT_LISTEN']}"
    assert ":8000/health" in stages()["service"]
    assert f":{environment('worker')['WEBCALL_WORKER_HEALTH_PORT']}/" in stages()["worker"]
    bind = SERVICES["watch"]["environment"]["WEBCALL_WATCH_BIND"]
    assert bind.replace("0.0.0.0", "127.0.0.1") + "/health" in SERVICES["watch"]["healthcheck"]["test"][-1]
    for name in ("livekit-1", "livekit-2"):
        urls = yaml.safe_load(SERVICES[name]["environment"]["LIVEKIT_CONFIG"])["webhook"]["urls"]
        assert urls == [
            f"http://nginx:{nginx['WEBCALL_LISTEN']}/livekit/webhook",
            f"http://watch:{bind.partition(':')[2]}/livekit/webhook",
        ]


@pytest.mark.parametrize("name", ["webcall-1", "webcall-2"])
def test_check_asks_the_watcher_and_a_worker(name: str, tmp_path: Path) -> None:
    """The settings of the service lead to watcher and worker, which listen in containers of their own."""
    config = checked(name, tmp_path)
    assert config.watch.url == "http://watch:8084"
    assert (config.worker.health_url, config.worker.metrics_url) == (
        "http://worker:8081",
        "http://worker:8082",
    )
    assert checked("watch", tmp_path).watch.address == ("0.0.0.0", 8084)
    assert checked("worker", tmp_path).worker.host == "0.0.0.0"
    for other in ("watch", "worker"):
        assert set(SERVICES[other]["networks"]) & set(SERVICES[name]["networks"])


@pytest.mark.parametrize("name", ["webcall-1", "webcall-2"])
def test_workers_of_two_containers_do_not_meet_on_a_core(name: str, tmp_path: Path) -> None:
    """They would not see each other: none keeps to a core, unless the containers have cores of their own."""
    assert not checked(name, tmp_path).http.bind_cores or "cpuset" in SERVICES[name]


def test_an_override_reaches_all_of_ours() -> None:
    """The page's file for settings of one's own mounts them where each container of ours looks for them."""
    page = (ROOT / "docs" / "containers.md").read_text("utf-8")
    text = page.partition("<!-- file: compose.override.yaml -->\n```yaml\n")[2].partition("```")[0]
    changed = yaml.safe_load(text)["services"]
    assert set(changed) == set(OURS)
    for service in changed.values():
        named = service["environment"]["WEBCALL_CONFIG"]
        assert f"./{named}:/srv/webcall/{named}:ro" in service["volumes"]
    assert "WORKDIR /srv/webcall" in stages()["base"]


def test_mongodb_is_not_healthy_before_others_reach_it() -> None:
    """It is asked by its name: its image's first start, which makes the user, listens on 127.0.0.1 alone."""
    [address] = [word for word in SERVICES["mongo"]["healthcheck"]["test"] if word.startswith("mongodb://")]
    assert urlsplit(address).hostname == "mongo"


def test_nginx_is_told_every_name() -> None:
    """What stands in capitals in nginx's template is filled in, and by nginx's image too."""
    names = set(re.findall(r"\$\{(\w+)\}", NGINX_TEMPLATE.read_text()))
    given = SERVICES["nginx"]["environment"]
    assert names == given.keys() - {"NGINX_ENVSUBST_FILTER"}
    assert all(re.search(given["NGINX_ENVSUBST_FILTER"], name) for name in names)


def test_nginx_sends_all_headers() -> None:
    """No block of nginx's settings has a header of its own, which would leave out all the others."""
    lines = [line for line in NGINX_TEMPLATE.read_text().splitlines() if "proxy_set_header" in line]
    assert {line.split()[1] for line in lines} >= {"Host", "X-Forwarded-For", "Connection", "Upgrade"}
    assert all(line.startswith("proxy_set_header") for line in lines)


@pytest.mark.parametrize("name", ["livekit-1", "livekit-2"])
def test_livekit_takes_its_settings(name: str, livekit_binary: Path, tmp_path: Path) -> None:
    """The real server reads its settings and options, and listens at the ports that are published."""
    service = SERVICES[name]
    assert service["image"].endswith(f":v{livekit_server.VERSION}")
    keys = tmp_path / "livekit_keys"
    keys.write_text(SECRETS["livekit_keys"])
    keys.chmod(0o400)
    settings = service["environment"]["LIVEKIT_CONFIG"].replace("/run/secrets/livekit_keys", str(keys))
    assert str(keys) in settings
    done = subprocess.run(
        [livekit_binary, *service["command"], "ports"],
        env={"PATH": os.environ["PATH"], "LIVEKIT_CONFIG": settings},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7880" in done.stdout
    told = set(re.findall(r"\d{4}", done.stdout)) - {"7880"}
    assert told == {re.findall(r"\d+", port)[-1] for port in service["ports"]}


def test_hadolint_finds_nothing() -> None:
    """The Dockerfile follows hadolint's rules."""
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_commands_exist(make_app: MakeApp) -> None:
    """What our containers run are programs and commands of the service."""
    runner = make_app({"LIVEKIT_API_KEY": "APIexample", "LIVEKIT_API_SECRET": "s" * 40}).test_cli_runner()
    worker = (ROOT / "webcall" / "worker" / "__main__.py").read_text()
    for name in OURS:
        [written] = re.findall(r"^CMD (\[.+\])$", stages()[target(name)], re.MULTILINE)
        program, *rest = SERVICES[name].get("command") or json.loads(written)
        if program == "flask":
            assert rest[:2] == ["--app", "wsgi"]
            done = runner.invoke(args=[*rest[2:], "--help"])
            assert done.exit_code == 0, f"{name}: {done.output}"
        elif program == "python":
            assert f"python {' '.join(rest)}" in worker
        else:
            assert [program, *rest] == ["gunicorn"]
