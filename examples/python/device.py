#!/usr/bin/env python3
"""A device: answers commands and streams a sine at 10 kHz when told to.

    python3 device.py [ws://127.0.0.1:8080] [device-id]

Commands: stream.start {"seconds": 5, "samples_per_frame": 100}. Needs the
package "websockets" (Debian: python3-websockets).
"""
import asyncio
import json
import math
import struct
import sys
import time

import websockets

RATE = 10_000  # samples per second
HEADER = struct.Struct("<BBBBIQqIHH")  # docs/protocol.md, "Telemetry"


def frame(first, count, t0):
    """A telemetry frame: kind 1 (samples), format 1 (f32), one channel."""
    dt = 1_000_000_000 // RATE
    values = [math.sin(2 * math.pi * 5 * i / RATE) for i in range(first, first + count)]
    # The gateway puts the stream's number into the fifth field.
    header = HEADER.pack(1, 1, 1, 0, 0, first, t0 + first * dt, dt, 1, count)
    return header + struct.pack(f"<{count}f", *values)


async def stream(ws, seconds, per_frame):
    start, t0, sent, total = time.monotonic(), time.time_ns(), 0, RATE * seconds
    while sent < total:
        due = min(total, int((time.monotonic() - start) * RATE))
        while sent + per_frame <= due or due == total > sent:
            count = min(per_frame, total - sent)
            await ws.send(frame(sent, count, t0))
            sent += count
        await asyncio.sleep(0.005)
    await tell(ws, {"type": "stream.finished", "payload": {"samples": sent}})


async def tell(ws, message):
    await ws.send(json.dumps(message))


async def main(url, device_id):
    uri = f"{url}/ws/device/{device_id}?type=example"
    async with websockets.connect(uri, subprotocols=["labgate.v1"]) as ws:
        streaming = None
        async for text in ws:
            message = json.loads(text)
            if message["type"].startswith("gateway."):
                print(message["type"], message.get("payload"), flush=True)
                continue
            answer = {"type": "error", "payload": f"unknown command {message['type']}"}
            if message["type"] == "stream.start":
                want = message["payload"]
                answer = {"type": "stream.started", "payload": {"rate": RATE}}
                streaming = asyncio.create_task(stream(ws, want["seconds"], want["samples_per_frame"]))
            if "id" in message:
                await tell(ws, answer | {"re": message["id"]})
        if streaming:
            streaming.cancel()


if __name__ == "__main__":
    url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080"
    asyncio.run(main(url, sys.argv[2] if len(sys.argv) > 2 else "python-1"))
