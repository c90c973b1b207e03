"""Bring Toxiproxy to this machine, for the tests: a proxy that makes the faults of a network on demand.

`python -m scripts.toxiproxy` prints its path, built with Go if need be.
"""

from scripts.go_programs import GoProgram

TOXIPROXY = GoProgram(
    name="toxiproxy",
    package="github.com/Shopify/toxiproxy/v2/cmd/server",
    version="2.12.0",
    what="a Toxiproxy",
)

if __name__ == "__main__":
    raise SystemExit(TOXIPROXY.main())
