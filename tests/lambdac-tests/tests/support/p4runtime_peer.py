"""The other end of the tests: P4Runtime as the Python package finsy has it, with its own generated messages and server.

    p4runtime_peer.py messages FOLDER   reads FOLDER/NAME.bin as the message NAME, and writes it as text and again as bytes
    p4runtime_peer.py serve PORT        the switch of p4runtime_switch.py, with packets that come back
"""

import asyncio
import pathlib
import sys

import grpc
from finsy.proto import p4d, p4i, p4r, p4t, rpc_status
from google.protobuf import text_format, unknown_fields
from p4runtime_switch import Refused, Switch


def classes():
    found = {}
    for module in (p4i, p4r, p4t, p4d, rpc_status):
        waiting = [getattr(module, name) for name in module.DESCRIPTOR.message_types_by_name]
        while waiting:
            cls = waiting.pop()
            found[cls.DESCRIPTOR.full_name] = cls
            waiting += [getattr(cls, nested.name) for nested in cls.DESCRIPTOR.nested_types]
    return found


def messages(folder):
    known = classes()
    for path in sorted(pathlib.Path(folder).glob("*.bin")):
        message = known[path.stem]()
        message.ParseFromString(path.read_bytes())
        unknown = unknown_fields.UnknownFieldSet(message)
        if len(unknown) > 0:
            sys.exit(f"{path.stem}: field {unknown[0].field_number} is unknown")
        path.with_suffix(".txt").write_text(text_format.MessageToString(message))
        path.with_suffix(".again").write_bytes(message.SerializeToString(deterministic=True))


class Echo(Switch):
    """Is device 3, knows table 1 alone, and sends back what is sent to it."""

    device = 3

    def _update(self, update):
        entry = update.entity.table_entry
        if entry.table_id != 1:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"no table {entry.table_id}")
        self.entries[len(self.entries)] = entry

    def _packet_out(self, packet):
        response = p4r.StreamMessageResponse()
        if packet.payload == b"digest":
            response.digest.digest_id, response.digest.list_id = 7, 8
            response.digest.data.add().bitstring = b"\x2a"
        else:
            response.packet.payload = packet.payload
            response.packet.metadata.extend(packet.metadata)
        self._send(response)

    def _digest_ack(self, ack):
        response = p4r.StreamMessageResponse()
        response.packet.payload = f"{ack.digest_id} {ack.list_id}".encode()
        self._send(response)


async def serve(port):
    # A controller with election number 10 is its primary already.
    async with Echo(f"127.0.0.1:{port}", 10).run():
        print("ready", flush=True)
        # Ends with whoever started it.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    mode, argument = sys.argv[1:]
    if mode == "messages":
        messages(argument)
    else:
        asyncio.run(serve(int(argument)))
