"""Stores on files of the test's own folder, closed behind it."""

from __future__ import annotations

import contextlib

import pytest

from plugins.file import FileAssistants, FileKeys, watch
from webcall import Caller


@pytest.fixture
def open_keys(monkeypatch):
    """Return `FileKeys` whose requests wait for a reload as long as a busy machine needs."""
    monkeypatch.setattr(watch, "WAIT_FOR_SMALL_S", 30)
    with contextlib.ExitStack() as stack:

        def make(path, **options):
            keys = FileKeys(path, **options)
            stack.callback(keys.close)
            return keys

        yield make


@pytest.fixture
def open_assistants(monkeypatch):
    """Return `FileAssistants` whose requests wait for a reload as long as a busy machine needs."""
    monkeypatch.setattr(watch, "WAIT_FOR_SMALL_S", 30)
    with contextlib.ExitStack() as stack:

        def make(path, **options):
            assistants = FileAssistants(path, **options)
            stack.callback(assistants.close)
            return assistants

        yield make


@pytest.fixture
def owner():
    return Caller(email="owner@example.com")


@pytest.fixture
def an_assistant():
    """Return a function that makes an assistant's record."""

    def make(assistant_id, **fields):
        return {"assistant_id": assistant_id, "assistant_created_by_email": "owner@example.com", **fields}

    return make


@pytest.fixture
def a_key():
    """Return a function that makes a key's record as old deployments have it, the key in plain."""

    def make(api_key, **fields):
        return {"api_key": api_key, "user_email": "owner@example.com", **fields}

    return make
