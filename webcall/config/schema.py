"""All of config.yaml: every setting has its type, its default and its meaning in its section.

The README's table is made from here.
"""

from __future__ import annotations

from marshmallow import fields, validate

from webcall.config.fields import Backends, Names
from webcall.config.section import Section
from webcall.config.service_sections import AssistantsSection, AuthSection, HttpSection, LimitsSection
from webcall.config.settings import Config
from webcall.config.shared_sections import CallSection, LiveKitSection, LogSection, TracesSection
from webcall.config.watch_section import WatchSection
from webcall.config.worker_section import WorkerSection


class ConfigSchema(Section):
    """The whole of config.yaml."""

    MAKES = Config

    livekit = fields.Nested(LiveKitSection)
    call = fields.Nested(CallSection)
    plugins = Names(
        load_default=tuple(f"plugins.{name}" for name in ("env", "file", "mongo", "sql", "jwt", "http")),
        validate=validate.Length(min=1, error="names no plugin"),
        metadata={"description": "modules, or names of entry points in the group `webcall.plugins`"},
    )
    auth = fields.Nested(AuthSection)
    assistants = fields.Nested(AssistantsSection)
    backends = Backends(metadata={"description": "settings by backend name"})
    limits = fields.Nested(LimitsSection)
    http = fields.Nested(HttpSection)
    worker = fields.Nested(WorkerSection)
    watch = fields.Nested(WatchSection)
    traces = fields.Nested(TracesSection)
    log = fields.Nested(LogSection)
