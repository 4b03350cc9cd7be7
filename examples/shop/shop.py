"""A shop: orders are counted in Redis, receipts are files in a volume. Python's own library alone."""

import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ["VERSION"]
BROKEN = os.environ["BROKEN"]
REPLICA = os.environ.get("SERVER_ID") or socket.gethostname()
with open("/run/secrets/database-password") as secret:
    PASSWORD = secret.read().strip()


def database(*command):
    """One call to Redis, on a connection of its own."""
    with socket.create_connection(("database", 6379), timeout=2) as connection:
        for words in (["AUTH", PASSWORD], command):
            text = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
            connection.sendall(f"*{len(words)}\r\n{text}".encode())
            answer = connection.recv(1024)
            if answer[:1] not in b"+:":
                raise OSError(answer.decode(errors="replace").strip())
        return answer[1:].decode().strip()


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/health":
            return self.health()
        if self.path == "/search":
            # Work for some time, as a catalogue's full-text search is.
            time.sleep(0.2)
        self.answer(200, f"version {VERSION}, replica {REPLICA}")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        number = database("INCR", "orders")
        with open(f"/receipts/{number}", "w") as receipt:
            receipt.write(f"order {number}, version {VERSION}\n")
        self.answer(201, f"order {number}, version {VERSION}")

    def health(self):
        if BROKEN:
            return self.answer(500, "broken")
        database("PING")
        self.answer(200, "healthy")

    def answer(self, status, text):
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        if self.command == "POST":
            super().log_request(code, size)


server = ThreadingHTTPServer(("", int(os.environ["PORT"])), Shop)
# SIGTERM: what has been accepted is answered first.
server.daemon_threads = True
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print(f"shop {VERSION} listens", file=sys.stderr, flush=True)
server.serve_forever()
