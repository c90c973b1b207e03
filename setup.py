"""The package: what it needs and what it offers; tool settings are in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    name="webcall",
    version="0.1.0",
    description="Self-hosted web calls with LiveKit voice assistants: one POST, one room, one token.",
    python_requires=">=3.11",
    packages=find_packages(include=["webcall", "webcall.*", "plugins", "plugins.*"]),
    package_data={"webcall": ["py.typed", "http/static/*"]},
    install_requires=[
        "flask>=3.1",
        "click>=8.4",  # flask's; its ParamType is generic from here on
        "flask-smorest>=0.45",
        "marshmallow>=4.0",
        "webargs>=8.6",
        "livekit-api>=1.2",
        "aiohttp>=3.10",  # livekit-api's transport; its errors are told apart in webcall/core/livekit.py
        "pyjwt>=2.10",  # livekit-api's signer
        "pymongo>=4.12",
        "pluggy>=1.5",
        "gunicorn>=23",
        "pyyaml>=6.0",
        "pystache>=0.6.8,<0.7",  # Mustache; bounded, since its private parser is built upon
        "structlog>=25.1",  # JSON and console logs with the request's fields
        "flask-swagger-ui>=5.21",  # the files of Swagger UI, served from here instead of a CDN
    ],
    extras_require={
        "dev": [
            "pytest>=8.3",
            "pytest-cov>=6.0",
            "pytest-timeout>=2.3",
            "hypothesis>=6.120",
            "ruff>=0.9",
            "mypy>=1.15",
            "types-PyYAML>=6.0.12",
            "types-protobuf>=5.29",
            "import-linter>=2.1",
            "jsonschema>=4.23",
            "openapi-spec-validator>=0.7",
            "livekit>=1.0",  # a real participant that joins the rooms of the tests
            "nx-27017>=0.8",  # a MongoDB-compatible server in Python, for machines without mongod
        ],
    },
)
