"""A loopback server that the real `kaggle` command line takes for Kaggle.

The CLI can only be sent to http://localhost, on port 80. So this server is named to it
as an HTTP proxy, on any port; what would still go to the real Kaggle arrives here as a
CONNECT, and is refused and recorded. Binds 127.0.0.1 only; keeps no secret.
"""

# ruff: noqa: D102, D105  (the methods are those that http.server calls)

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from kaggle_rules import Body, Rules, error

FOREVER = 10**9
# What a server says with a status; the CLI prints the words and not the number.
MESSAGES = {
    400: "Bad request",
    401: "Unauthenticated",
    403: "Permission 'datasets.get' was denied",
    404: "Not found",
    429: "Too many requests",
    500: "Internal server error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
RULES = "You must accept this competition's rules before you'll be able to download."


@dataclass
class Fault:
    """What to answer instead, to the next `times` calls of `rpc` (`PUT` an upload).

    lost: the call takes effect, but the connection breaks before the answer.
    """

    rpc: str
    status: int = 200
    body: Body | None = None
    times: int = FOREVER
    lost: bool = False

    def answer(self) -> tuple[int, Body]:
        if self.body is not None:
            return self.status, self.body
        return error(self.status, MESSAGES[self.status])


@dataclass
class KaggleStub:
    """`with KaggleStub() as stub:`; what it knows, does amiss, and was asked."""

    rules: Rules = field(default_factory=Rules)
    faults: list[Fault] = field(default_factory=list)
    log: list[Body] = field(default_factory=list)

    def __enter__(self) -> Self:
        handler = type("BoundHandler", (Handler,), {"stub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def calls(self, rpc: str) -> list[Body]:
        return [entry for entry in self.log if entry["rpc"] == rpc]

    def take_fault(self, rpc: str) -> Fault | None:
        for fault in self.faults:
            if fault.rpc == rpc and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def env(self, home: Path, login: bool = True) -> dict[str, str]:
        """The variables that send the CLI here, away from any real credentials."""
        proxies = dict.fromkeys(
            ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), self.url
        )
        user = {"KAGGLE_USERNAME": self.rules.user, "KAGGLE_KEY": "0" * 32}
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "KAGGLE_CONFIG_DIR": str(home / ".kaggle"),
            **{"HOME": str(home), "TMPDIR": str(home), "NO_PROXY": "", "no_proxy": ""},
            **proxies,
            **(user if login else {}),
        }


class Handler(BaseHTTPRequestHandler):
    """One request: a call, an upload, a file, or something that must not be."""

    protocol_version = "HTTP/1.1"
    stub: KaggleStub

    def log_message(self, *_: object) -> None:
        """Say nothing on the terminal."""

    def do_CONNECT(self) -> None:
        self._note(f"BLOCKED {self.path}")
        self._json(*error(403, "not the stub"))
        self.close_connection = True

    def do_POST(self) -> None:
        body = json.loads(self._read() or b"{}")
        rpc = urlsplit(self.path).path.rpartition("/")[2]
        self._note(rpc, json={name: v for name, v in body.items() if name != "token"})
        fault = self.stub.take_fault(rpc)
        if fault and not fault.lost:
            return self._json(*fault.answer())
        reply = self.stub.rules.reply(rpc, body)
        if fault:
            self.close_connection = True
            return None
        if isinstance(reply, str):
            return self._send(302, b"", Location=self.stub.url + reply)
        return self._json(reply[0], self._absolute(reply[1]))

    def do_PUT(self) -> None:
        data = self._read()
        self._note("PUT")
        if fault := self.stub.take_fault("PUT"):
            return self._json(*fault.answer())
        token = self.path.rpartition("/")[2]
        self.stub.rules.blobs[token]["data"] = data
        return self._json(200, {})

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        asked = self.headers.get("Range")
        self._note("GET", path=path, range=asked)
        if fault := self.stub.take_fault("GET"):
            return self._json(*fault.answer())
        if path.startswith("/files/archive/"):
            return self._file(self.stub.rules.archive, asked)
        return self._file(self.stub.rules.outputs[path.rpartition("/")[2]], asked)

    def _file(self, data: bytes, asked: str | None) -> None:
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        headers = {"Accept_Ranges": "bytes", "ETag": etag(data)}
        headers["Last_Modified"] = "Thu, 16 May 2024 00:00:00 GMT"
        self._send(206 if asked else 200, data[start:], **headers)

    def _read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _note(self, rpc: str, **more: Any) -> None:
        self.stub.log.append({"rpc": rpc, **more})

    def _absolute(self, body: Body) -> Body:
        text = json.dumps(body)
        for path in ("/upload/", "/files/"):
            text = text.replace(f'"{path}', f'"{self.stub.url}{path}')
        return json.loads(text)

    def _json(self, status: int, body: Body) -> None:
        self._send(status, json.dumps(body).encode(), Content_Type="application/json")

    def _send(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)


def etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:16]}"'
