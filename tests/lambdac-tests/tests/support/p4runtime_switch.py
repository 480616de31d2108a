"""A switch that speaks P4Runtime and forwards nothing, on the server of the Python package finsy, whose messages were
generated from the specification's own definitions. It holds program and entries as a switch does, refuses what a switch
refuses, and answers requests that are injected: `drop` is dropped, `host` is the host's, all else is answered.

    p4runtime_switch.py PORT PRIMARY   device 0; a controller with election number PRIMARY is there already (0: none)

Commands on stdin, a line each: `dump` prints what it holds as a line of JSON, `lose` makes another controller the primary.
"""

import asyncio
import json
import sys

import grpc
from finsy.proto import U128, p4r, rpc_status
from finsy.test.p4runtime_server import P4RuntimeServer

CPU_PORT = 510
INJECT = 0xFFFF
ON_HOST, REPLIED, DROPPED = 1, 4, 5
HEADERS, LAMBDA, SLOTS = 42, 24, 32


class Refused(Exception):
    def __init__(self, code, text):
        super().__init__(text)
        self.code, self.text = code, text


class Switch(P4RuntimeServer):
    device = 0

    def __init__(self, address, primary):
        super().__init__(address)
        self.primary = primary
        self.config = None
        self.pushes = 0
        self.entries = {}
        self.counts = {}

    # Who is the primary.

    async def _stream_read(self):
        context = self._stream_context
        try:
            while True:
                request = await context.read()
                if request is grpc.aio.EOF:
                    return
                kind = request.WhichOneof("update")
                if kind == "arbitration":
                    if request.arbitration.device_id != self.device:
                        self.end = (grpc.StatusCode.NOT_FOUND, f"no device {request.arbitration.device_id}")
                        return
                    self._arbitrate(request.arbitration)
                elif kind == "packet":
                    self._packet_out(request.packet)
                elif kind == "digest_ack":
                    self._digest_ack(request.digest_ack)
        finally:
            self._stream_context = None
            self._stream_closed.set()

    async def StreamChannel(self, request_iter, context):
        self.end = None
        # What was meant for a controller that has gone.
        self._stream_queue = asyncio.Queue()
        await super().StreamChannel(request_iter, context)
        if self.end is not None:
            await context.abort(*self.end)

    def _arbitrate(self, arbitration):
        response = p4r.StreamMessageResponse()
        response.arbitration.CopyFrom(arbitration)
        if U128.decode(arbitration.election_id) <= self.primary:
            response.arbitration.election_id.low = self.primary
            response.arbitration.status.code = grpc.StatusCode.ALREADY_EXISTS.value[0]
        self._send(response)

    async def _check(self, request, context):
        if request.device_id != self.device:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no device {request.device_id}")
        if U128.decode(request.election_id) <= self.primary:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not the primary")

    # The program and its entries.

    async def SetForwardingPipelineConfig(self, request, context):
        await self._check(request, context)
        if not request.config.p4_device_config:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no program")
        self.config = request.config
        self.pushes += 1
        self.entries, self.counts = {}, {}
        return p4r.SetForwardingPipelineConfigResponse()

    async def GetForwardingPipelineConfig(self, request, context):
        if self.config is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no program was set")
        return p4r.GetForwardingPipelineConfigResponse(config=p4r.ForwardingPipelineConfig(cookie=self.config.cookie))

    def _table(self, number):
        for table in self.config.p4info.tables if self.config else ():
            if table.preamble.id == number:
                return table
        raise Refused(grpc.StatusCode.NOT_FOUND, f"no table {number}")

    def _update(self, update):
        entry = update.entity.table_entry
        table = self._table(entry.table_id)
        if table.is_const_table:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, f"{table.preamble.alias} is constant")
        key = (entry.table_id, entry.priority, tuple(m.SerializeToString(deterministic=True) for m in entry.match))
        known = key in self.entries
        if update.type == p4r.Update.INSERT:
            if known:
                raise Refused(grpc.StatusCode.ALREADY_EXISTS, "the entry is there")
            if sum(other[0] == entry.table_id for other in self.entries) >= table.size:
                raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{table.preamble.alias} is full")
        elif not known:
            raise Refused(grpc.StatusCode.NOT_FOUND, "no such entry")
        if update.type == p4r.Update.DELETE:
            del self.entries[key]
        else:
            self.entries[key] = entry

    async def Write(self, request, context):
        await self._check(request, context)
        status = rpc_status.Status(code=grpc.StatusCode.UNKNOWN.value[0], message="some updates failed")
        failed = False
        for update in request.updates:
            error = p4r.Error()
            try:
                self._update(update)
            except Refused as refused:
                failed = True
                error.canonical_code, error.message = refused.code.value[0], refused.text
            status.details.add().Pack(error)
        if failed:
            details = (("grpc-status-details-bin", status.SerializeToString()),)
            await context.abort(grpc.StatusCode.UNKNOWN, status.message, trailing_metadata=details)
        return p4r.WriteResponse()

    async def Read(self, request, context):
        for wish in request.entities:
            if wish.WhichOneof("entity") == "table_entry":
                for entry in self.entries.values():
                    if wish.table_entry.table_id in (0, entry.table_id):
                        yield p4r.ReadResponse(entities=[p4r.Entity(table_entry=entry)])
            elif wish.WhichOneof("entity") == "counter_entry":
                response = p4r.ReadResponse()
                for index, count in sorted(self.counts.items()):
                    counter = response.entities.add().counter_entry
                    counter.counter_id = wish.counter_entry.counter_id
                    counter.index.index = index
                    counter.data.packet_count = count
                yield response

    # Requests that are injected.

    def _packet_out(self, packet):
        port = int.from_bytes(packet.metadata[0].value, "big")
        frame = bytearray(packet.payload)
        datagram = frame[HEADERS:]
        if port != INJECT or datagram[:2] != b"\xce\xbb":
            return
        workload, payload = int.from_bytes(datagram[4:8], "big"), bytes(datagram[LAMBDA:])
        reason, slot = {b"host": (ON_HOST, 10), b"drop": (DROPPED, 8)}.get(payload, (REPLIED, 0))
        index = (workload & 0xFFFF) * SLOTS + slot
        self.counts[index] = self.counts.get(index, 0) + 1
        if reason == REPLIED:
            reply = b"from the switch"
            datagram[3] = 1
            datagram[20:22] = len(reply).to_bytes(2, "big")
            frame = frame[6:12] + frame[:6] + frame[12:HEADERS] + datagram[:LAMBDA] + reply
        response = p4r.StreamMessageResponse()
        response.packet.payload = bytes(frame)
        for number, value in ((1, CPU_PORT), (2, reason), (3, 0), (4, 0)):
            response.packet.metadata.add(metadata_id=number, value=value.to_bytes(2, "big"))
        self._send(response)

    def _digest_ack(self, ack):
        pass

    # The test's commands.

    def dump(self):
        def pattern(match):
            kind = match.WhichOneof("field_match_type")
            value = getattr(match, kind)
            more = {"lpm": lambda: f"/{value.prefix_len}", "ternary": lambda: f"&{value.mask.hex()}"}
            return value.value.hex() + more.get(kind, str)()

        entries = [
            [
                self._table(entry.table_id).preamble.alias,
                [pattern(match) for match in entry.match],
                [param.value.hex() for param in entry.action.action.params],
            ]
            for entry in self.entries.values()
        ]
        return {"pushes": self.pushes, "entries": sorted(entries)}

    def lose(self):
        self.primary = 1 << 64
        response = p4r.StreamMessageResponse()
        response.arbitration.election_id.high = 1
        response.arbitration.status.code = grpc.StatusCode.ALREADY_EXISTS.value[0]
        self._send(response)


async def serve(port, primary):
    switch = Switch(f"127.0.0.1:{port}", primary)
    async with switch.run():
        print("ready", flush=True)
        while True:
            # Ends with whoever started it.
            line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            if line == "dump\n":
                print(json.dumps(switch.dump()), flush=True)
            elif line == "lose\n":
                switch.lose()
                print("{}", flush=True)
            else:
                return


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
