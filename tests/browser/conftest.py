"""Fixtures of the tests in a real browser: a service with the playground, and people who visit it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import sync_playwright

from scripts import frontend
from scripts import programs as program
from tests.support import programs
from tests.support.browser import Browsers, Visitor, fail_with, write_sound
from tests.support.deployment import OWNER, Service, livekit_environment, settings, store_records
from tests.support.livekit import LiveKitServer
from tests.support.site import KIND, Shop, Shopper, Site, policy, running
from tests.support.worker import WorkerProcess

# Speaks when spoken to: what is said into its silence reaches it as it was said.
QUIET = {
    "assistant_id": "quiet",
    "assistant_created_by_email": OWNER,
    "assistant_prompt": "You talk with {{customer.name}}.",
    "assistant_interaction_config": {"speaks_first": False},
}

MakeVisitor = Callable[..., Visitor]
MakeShopper = Callable[..., Shopper]
MakeSite = Callable[..., Site]


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser's program; without one the tests are skipped, or fail in CI."""
    found = program.find_browser()
    if found is None:
        programs.without("chromium", "`python -m scripts.programs` says how to get it")
    try:
        frontend.ensure_library()
    except frontend.NoFrontend as error:
        programs.without("livekit-client", str(error))
    return found


# Of a module, not of the session: while Playwright runs, no other test could have an event loop.
@pytest.fixture(scope="module")
def browsers(chromium: Path) -> Iterator[Browsers]:
    """Browsers by the sound of their microphone."""
    with sync_playwright() as playwright:
        running = Browsers(playwright, chromium)
        yield running
        running.close()


@pytest.fixture(scope="session")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A microphone into which nobody speaks."""
    return write_sound(tmp_path_factory.mktemp("sound") / "silence.wav", [], length_s=1)


@pytest.fixture(scope="session")
def playground(
    livekit_server: LiveKitServer,
    worker: WorkerProcess,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Service]:
    """The sample deployment under gunicorn with its playground on, served by the session's worker."""
    folder = tmp_path_factory.mktemp("playground")
    records = store_records("file", folder, request)
    assistants = Path(records["WEBCALL_ASSISTANTS_FILE"])
    assistants.write_text(json.dumps([*json.loads(assistants.read_text()), QUIET]))
    # Every visitor comes from one address, and no event of LiveKit's tells that they have joined.
    config = folder / "config.yaml"
    config.write_text(
        yaml.safe_dump(settings(limits={"waiting_per_address": 0, "publishable_per_address": "off"}))
    )
    environment = {
        "WEBCALL_CONFIG": str(config),
        **livekit_environment(livekit_server),
        **records,
        "LIVEKIT_AGENT_NAME": worker.agent_name,
        "WEBCALL_PLAYGROUND": "true",
    }
    service = Service(environment, folder / "service.log")
    try:
        yield service.start()
    finally:
        service.stop()


@pytest.fixture
def visitor_of(browsers: Browsers, silence: Path) -> Iterator[MakeVisitor]:
    """Let people in; a page whose console has an error or a warning fails the test.

    `visitor_of(service, sound=…, microphone=…, kind=…, **context)`: `microphone` whether the browser may
    use one, `kind` what they know how to use, `context` what Playwright's `new_context` takes.
    """
    visitors: list[Visitor] = []

    def enter(
        service: Service,
        *,
        sound: Path | None = None,
        microphone: bool = True,
        kind: type[Visitor] = Visitor,
        **options: object,
    ) -> Visitor:
        browser = browsers.with_microphone(sound or silence)
        permissions = ["microphone"] if microphone else []
        context = browser.new_context(permissions=permissions, **options)  # type: ignore[arg-type]  # Playwright's own
        visitors.append(kind.enter(context, service.url))
        return visitors[-1]

    yield enter
    for visitor in visitors:
        visitor.leave()
    fail_with([fault for visitor in visitors for fault in visitor.faults])


@pytest.fixture
def visitor(visitor_of: MakeVisitor, playground: Service) -> Visitor:
    """One person at the playground, who may use a microphone and says nothing."""
    return visitor_of(playground)


@pytest.fixture
def site_of(playground: Service, livekit_server: LiveKitServer) -> Iterator[MakeSite]:
    """Sites of other origins, whose policy lets in what docs/frontend.md says, and nothing else.

    `site_of(style)`: the style of its pages.
    """
    given = policy(playground.url, livekit_server.url, livekit_server.http_url)
    with ExitStack() as stack:
        yield lambda style=KIND: stack.enter_context(running(Site(given, style)))


@pytest.fixture
def shop(playground: Service, site_of: MakeSite) -> Shop:
    """A site with a publishable key of its own, made by the command."""
    return Shop.opened(site_of(), playground)


@pytest.fixture
def shopper_of(visitor_of: MakeVisitor, playground: Service) -> MakeShopper:
    """Let people into sites, as `visitor_of` does."""
    return partial(visitor_of, playground, kind=Shopper)  # type: ignore[return-value]  # it makes what `kind` says


@pytest.fixture
def shopper(shopper_of: MakeShopper) -> Shopper:
    """One person on a site, who may use a microphone and says nothing."""
    return shopper_of()
