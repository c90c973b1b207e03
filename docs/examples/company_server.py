"""A company's own service for the backend `http`: the standard library alone, a thread for each connection."""

import hmac, json, os, re, threading, time  # noqa: E401  # one line, so that the page is short
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SECRET = os.environ["WEBCALL_HTTP_SECRET"].encode()
# {"keys": {SHA-256 of a key: its record}, "assistants": {id: record}}
RECORDS = json.loads(Path(os.environ["RECORDS"]).read_text("utf-8"))
NONCES: dict[str, float] = {}  # with several processes, in what they share
LOCK = threading.Lock()


def sign(head: str, body: bytes) -> str:
    return hmac.digest(SECRET, head.encode() + body, "sha256").hex()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: in two, the second waits 40 ms for the first one's receipt

    def do_POST(self) -> None:
        body, what = self.rfile.read(int(self.headers["Content-Length"])), self.path.rsplit("/", 1)[-1]
        sent = re.fullmatch(r"t=(\d+),n=(\w+),v1=(\w+)", self.headers.get("Webcall-Signature", ""))
        if not sent or not hmac.compare_digest(
            sent[3], sign(f"request\n{what}\n{sent[1]}\n{sent[2]}\n", body)
        ):
            return self.send_error(400, "not signed by this secret")
        now, nonce = time.time(), sent[2]
        with LOCK:
            fresh = abs(now - int(sent[1])) <= 60 and NONCES.get(nonce, 0) < now
            NONCES[nonce] = now + 120
            for old in [one for one, until in NONCES.items() if until < now]:
                del NONCES[old]
        if not fresh:
            return self.send_error(400, "late, or sent before")
        question = json.loads(body)
        record = RECORDS.get(what, {}).get(question.get("api_key_hash") or question.get("assistant_id"))
        status = 200 if record is not None or what == "ping" else 404
        answer = json.dumps(record or {}).encode()
        self.send_response(status)
        self.send_header("Webcall-Signature", "v1=" + sign(f"answer\n{what}\n{status}\n{nonce}\n", answer))
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8090"))), Handler).serve_forever()
