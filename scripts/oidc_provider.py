"""Bring an OpenID Connect provider to this machine, for the tests: the example of zitadel's library.

`python -m scripts.oidc_provider` prints its path, built with Go if need be.
"""

from scripts.go_programs import GoProgram

PROVIDER = GoProgram(
    name="oidc-provider",
    package="github.com/zitadel/oidc/v3/example/server",
    version="3.51.17",
    what="an OpenID Connect provider",
)

if __name__ == "__main__":
    raise SystemExit(PROVIDER.main())
