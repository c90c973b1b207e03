"""`webcall.resolver` for aiohttp's clients; apart from it, since not every process has aiohttp."""

from __future__ import annotations

import asyncio
import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from webcall.resolver import Resolver

_NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class ClientResolver(AbstractResolver):
    """Looks up names for aiohttp's clients, whose own way keeps a thread of the loop's for each look-up."""

    def __init__(self, resolver: Resolver) -> None:
        """Take what looks up; it may be that of many clients, in many loops."""
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return a host's addresses. Raises `OSError`."""
        found = await asyncio.wrap_future(self._resolver.addresses(host, port))
        return [
            ResolveResult(
                hostname=host,
                # With its zone, where an address has one (RFC 4007).
                host=socket.getnameinfo(address, _NUMERIC)[0],
                port=port,
                family=its_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for its_family, _, proto, _, address in found
            if family in (socket.AF_UNSPEC, its_family)
        ]

    async def close(self) -> None:
        """Do nothing: what looks up is not this client's alone."""
