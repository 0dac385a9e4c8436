"""A web server of files for tests of what is fetched: it can break off, and can be ignorant of ranges."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class FileServer:
    """Serves bytes by name, and can break off."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    break_after: list[int] = field(default_factory=list)
    """Bytes after which the next answers break off, in turn."""
    knows_ranges: bool = True
    asked: list[str | None] = field(default_factory=list)
    """The range of each request."""


@contextmanager
def serve_files() -> Iterator[FileServer]:
    """Serve on a free port of this machine."""
    state = FileServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.headers.get("Range"))
            content = state.files.get(self.path.strip("/"))
            if content is None:
                self.send_error(404)
                return
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if state.knows_ranges else 0
            if start and start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            rest = content[start:]
            self.wfile.write(rest[: state.break_after.pop(0)] if state.break_after else rest)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{listening.server_address[1]}"
        yield state
        listening.shutdown()
