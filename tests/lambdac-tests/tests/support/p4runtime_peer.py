"""The other end of the tests: P4Runtime as the Python package finsy has it, with its own generated messages and server.

    p4runtime_peer.py messages FOLDER   reads FOLDER/NAME.bin as the message NAME, and writes it as text and again as bytes
    p4runtime_peer.py serve PORT        a switch that remembers its program and entries
"""

import asyncio
import pathlib
import sys

import grpc
from finsy.proto import p4i, p4r, p4t, p4d, rpc_status, U128
from finsy.test.p4runtime_server import P4RuntimeServer
from google.protobuf import text_format, unknown_fields


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


class Switch(P4RuntimeServer):
    """Has a primary with election number 10 already; knows table 1 only; echoes packets."""

    def __init__(self, address):
        super().__init__(address)
        self.config = None
        self.entries = []

    async def _stream_read(self):
        while True:
            request = await self._stream_context.read()
            if request is grpc.aio.EOF:
                self._stream_closed.set()
                self._stream_context = None
                return
            kind = request.WhichOneof("update")
            response = p4r.StreamMessageResponse()
            if kind == "arbitration":
                response.arbitration.CopyFrom(request.arbitration)
                if U128.decode(request.arbitration.election_id) < 10:
                    response.arbitration.election_id.low = 10
                    response.arbitration.status.code = grpc.StatusCode.ALREADY_EXISTS.value[0]
            elif kind == "packet" and request.packet.payload == b"digest":
                response.digest.digest_id, response.digest.list_id = 7, 8
                response.digest.data.add().bitstring = b"\x2a"
            elif kind == "packet":
                response.packet.payload = request.packet.payload
                response.packet.metadata.extend(request.packet.metadata)
            elif kind == "digest_ack":
                response.packet.payload = f"{request.digest_ack.digest_id} {request.digest_ack.list_id}".encode()
            self._send(response)

    async def SetForwardingPipelineConfig(self, request, context):
        if not request.config.p4_device_config:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no program")
        self.config = request.config
        return p4r.SetForwardingPipelineConfigResponse()

    async def GetForwardingPipelineConfig(self, request, context):
        if self.config is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no program was set")
        return p4r.GetForwardingPipelineConfigResponse(config=p4r.ForwardingPipelineConfig(cookie=self.config.cookie))

    async def Write(self, request, context):
        status = rpc_status.Status(code=grpc.StatusCode.UNKNOWN.value[0], message="some updates failed")
        failed = False
        for update in request.updates:
            error = p4r.Error()
            if update.entity.table_entry.table_id == 1:
                self.entries.append(update.entity)
            else:
                failed = True
                error.canonical_code = grpc.StatusCode.NOT_FOUND.value[0]
                error.message = f"no table {update.entity.table_entry.table_id}"
            status.details.add().Pack(error)
        if failed:
            details = (("grpc-status-details-bin", status.SerializeToString()),)
            await context.abort(grpc.StatusCode.UNKNOWN, status.message, trailing_metadata=details)
        return p4r.WriteResponse()

    async def Read(self, request, context):
        for entity in self.entries:
            yield p4r.ReadResponse(entities=[entity])


async def serve(port):
    async with Switch(f"127.0.0.1:{port}").run():
        print("ready", flush=True)
        # Ends with whoever started it.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    mode, argument = sys.argv[1:]
    if mode == "messages":
        messages(argument)
    else:
        asyncio.run(serve(int(argument)))
