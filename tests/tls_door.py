"""A door of TLS before a Postgres that was built without: `python -m tests.tls_door ADDRESS PORT SOCKET CRT KEY`."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import sys
import threading

SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # https://www.postgresql.org/docs/18/protocol-message-formats.html


def serve(address: str, port: int, path: str, certificate: str, key: str) -> None:
    """Take TLS connections for ever, and carry each to the server's socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server((address, port)) as listening:
        print("open", flush=True)
        while True:
            client, _ = listening.accept()
            threading.Thread(target=_carry, args=(client, path, context), daemon=True).start()


def _carry(client: socket.socket, path: str, context: ssl.SSLContext) -> None:
    with client:
        if client.recv(8, socket.MSG_WAITALL) != SSL_REQUEST:
            client.sendall(b"E" + struct.pack("!i", 32) + b"SFATAL\0Mno encryption\0\0".ljust(28, b"\0"))
            return
        client.sendall(b"S")
        try:
            with context.wrap_socket(client, server_side=True) as secure, socket.socket(socket.AF_UNIX) as server:
                server.connect(path)
                _exchange(secure, server)
        except OSError:  # either side is gone
            return


def _exchange(secure: ssl.SSLSocket, server: socket.socket) -> None:
    while True:
        ready = [secure] if secure.pending() else select.select([secure, server], [], [])[0]
        for source, target in ((secure, server), (server, secure)):
            if source in ready:
                content = source.recv(1 << 16)
                if not content:
                    return
                target.sendall(content)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
