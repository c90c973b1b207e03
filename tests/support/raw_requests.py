"""Requests as bytes, right and wrong in every way, for whoever reads them."""

from __future__ import annotations

from hypothesis import strategies as st


def lines(*given: str) -> bytes:
    """Return the head of a request, of its lines."""
    return "".join(line + "\r\n" for line in (*given, "")).encode()


def mostly(usual: str, odd: str, *more: str) -> st.SearchStrategy[str]:
    """Take usual words ten times as often as odd ones."""
    words, others = usual.split(" "), [*odd.split(" "), *more]
    return st.sampled_from(words * (1 + 10 * len(others) // len(words)) + others)


METHODS = mostly(
    "GET POST HEAD OPTIONS PUT PATCH DELETE", "get CONNECT PRI G  TRACE \r\nGET G\0T \xdfET", "GET ", "A" * 21
)
PATHS = st.lists(
    st.sampled_from(
        ["/", "a", *"?#;%:@[]\\\"'|~*+!", "%41", "%2F", "%00", "%zz", "%c3%a9", "&=", "..", "{}"]
    ),
    max_size=6,
).map("".join)
TARGETS = PATHS.map("/".__add__) | mostly(
    "/web_call/get_token /health?a=b /",
    "*  //h/p /// http://h/p HTTP://h h:80 a /\xe9 /\x7f /a\tb /\0",
    "/a b",
)
VERSIONS = mostly("HTTP/1.1", "HTTP/1.0 http/1.1 HTTP/2.0 HTTP/1.10 HTTP/0.9 ", "HTTP/1.1 ")
NAMES = mostly(
    "Host Accept X-Api-Key x-api-key CONTENT-TYPE Content-Type Authorization Origin Content-Length Cookie "
    "X-Forwarded-For X-Forwarded-Proto Connection Script-Name Proxy",
    "x-forwarded-proto X-Forwarded-Ssl X-Forwarded-Protocol X_Forwarded_Proto SCRIPT_NAME Path_Info TE "
    "Content_Length content-length Transfer-Encoding transfer-encoding Expect HTTP2-Settings Trailer Upgrade "
    "Keep-Alive Proxy-Connection X.A X! X\xdf  X\t \tX X\0 X:Y (X) 1 - wsgi.input remote-addr connection",
    *(" X", "X ", "X" * 70),
)
VALUES = mostly(
    " a close keep-alive https 0 1 4 text/plain;a=b example.com:80 a,b",
    "Close KEEP-ALIVE close,TE Upgrade http HTTPS on ssl +5 -1 0x5 5,5 05 \xb2 1_0 100-continue chunked "
    "identity \ta\t a\tb \xe9\xff a\0b a\x0bb a\x7f a\nb a\rb a\n\nb \xa05 5\x0b \x85 999999999 9999999999",
    *("5, 5", "5 5", " a ", "close, TE", "a\r\n b"),
)
COLONS = st.sampled_from([": "] * 90 + [":", " : ", ":\t", ":  ", "", "::", ";", "\t:"])
ENDS = st.sampled_from(["\r\n"] * 50 + ["\n", "\r", "\r\n ", "\r\n\r\n", ""])
HEADERS = st.tuples(NAMES, COLONS, VALUES, ENDS).map("".join)
# Such as most requests have: without them, few would be plain.
LENGTHS = st.sampled_from(["", "Content-Length: 0\r\n", "Content-Length: 4\r\n", "content-length:7 \r\n"])
BODIES = st.sampled_from(
    [b"", b"body", b"body and more", b"GET / HTTP/1.1\r\n\r\n", b"4\r\nbody\r\n0\r\n\r\n"]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Make what a client might send, most of it nearly right."""
    first = " ".join((draw(METHODS), draw(TARGETS), draw(VERSIONS))) + draw(ENDS)
    headers = [*draw(st.lists(HEADERS, max_size=5)), draw(LENGTHS)]
    sent = (first + "".join(draw(st.permutations(headers))) + "\r\n").encode("latin-1") + draw(BODIES)
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(sent)))
        sent = sent[:at] + draw(st.sampled_from([b"", b"\r", b"\n", b"\x00", b" "])) + sent[at + 1 :]
    return sent if draw(st.integers(0, 9)) else sent[: draw(st.integers(0, len(sent)))]
