"""A hub on this machine: serves one directory as a repository, and notes what is asked for."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Where it listens, and the files that were asked for, by path in the repository."""

    url: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def serve(repository: str, root: Path) -> Iterator[Hub]:
    """Answers as the hub does, as far as listing and fetching the files of one repository go."""
    hub = Hub("")
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            headers = {"X-Repo-Commit": COMMIT}
            if path.startswith(f"/api/models/{repository}/tree/"):
                body = json.dumps([{"type": "file", "path": name, "size": 1, "oid": "0"} for name in files]).encode()
            elif path.startswith(f"/api/models/{repository}"):
                siblings = [{"rfilename": name} for name in files]
                body = json.dumps({"id": repository, "sha": COMMIT, "siblings": siblings}).encode()
            else:
                name = path.removeprefix(f"/{repository}/resolve/").partition("/")[2]
                if name not in files:
                    self.send_error(404)
                    return
                hub.asked.append(name)
                body = files[name].read_bytes()
                headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()}"'
            self.send_response(200)
            for key, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(key, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
