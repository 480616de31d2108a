"""The web page from a Python socket server that answers each datagram from a thread of its own.

Speaks the lambda wire: a 24-byte header, in which a reply differs by its kind and length. Prints `ready ADDRESS`.
"""

import socketserver
import struct

PAGE = b"<!doctype html>\n<title>lambda-nic</title>\n<p>This page was answered by the network card.\n"
NOT_FOUND = b"not found\n"


class Lambda(socketserver.BaseRequestHandler):
    def handle(self):
        datagram, sock = self.request
        header, payload = bytearray(datagram[:24]), datagram[24:]
        found = payload == b"GET /" or payload.startswith(b"GET / ")
        reply = PAGE if found else NOT_FOUND
        header[3] = 1
        struct.pack_into(">H", header, 20, len(reply))
        sock.sendto(bytes(header) + reply, self.client_address)


socketserver.ThreadingUDPServer.daemon_threads = True
with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Lambda) as server:
    print("ready 127.0.0.1:%d" % server.server_address[1], flush=True)
    server.serve_forever()
