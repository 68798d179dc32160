#!/usr/bin/env python3
"""A device: answers commands and streams a sine at 10 kHz when told to.

    python3 device.py [ws://127.0.0.1:8080] [device-id]

Command: stream.start {"seconds": 5, "samples_per_frame": 100}, where each field
may be left out. Needs the package "websockets" (Debian: python3-websockets).
"""
import asyncio
import json
import math
import random
import struct
import sys
import time

import websockets

RATE = 10_000  # samples per second
HEADER = struct.Struct("<BBBBIQqIHH")  # docs/protocol.md, "Telemetry"
# No reconnect after these close codes and refusals: they would only be
# repeated.
STAY_AWAY = {1000, 1002, 1003, 1007, 1009, 4000, 4001, 4005, 4008, 400, 401, 403, 404}


def frame(first, count, t0):
    """A telemetry frame: kind 1 (samples), format 1 (f32), one channel."""
    dt = 1_000_000_000 // RATE
    values = [math.sin(2 * math.pi * 5 * i / RATE) for i in range(first, first + count)]
    # The gateway puts the stream's number into the fifth field.
    header = HEADER.pack(1, 1, 1, 0, 0, first, t0 + first * dt, dt, 1, count)
    return header + struct.pack(f"<{count}f", *values)


async def stream(ws, seconds, per_frame):
    start, t0, sent, total = time.monotonic(), time.time_ns(), 0, int(RATE * seconds)
    while sent < total:
        due = min(total, int((time.monotonic() - start) * RATE))
        while sent + per_frame <= due or due == total > sent:
            count = min(per_frame, total - sent)
            await ws.send(frame(sent, count, t0))
            sent += count
        await asyncio.sleep(0.005)
    await ws.send(json.dumps({"type": "stream.finished", "payload": {"samples": sent}}))


async def serve(ws):
    """Serves one connection to its end. Returns the pause that the gateway asks for, in seconds."""
    streaming, pause = None, 0
    async for text in ws:
        message = json.loads(text)
        kind, payload = message["type"], message.get("payload")
        if kind.startswith("gateway."):
            print(kind, payload, flush=True)
            pause = payload["retry_after_ms"] / 1000 if kind == "gateway.closing" else pause
            continue
        answer, fault = None, f"unknown command {kind}"
        if kind == "stream.start":
            try:
                want = payload if isinstance(payload, dict) else {}  # there may be none
                seconds, per_frame = float(want.get("seconds", 5)), int(want.get("samples_per_frame", 100))
                start = stream(ws, min(seconds, 3600), min(max(per_frame, 1), 65_535))
                if streaming:
                    streaming.cancel()
                streaming = asyncio.create_task(start)
                streaming.add_done_callback(lambda task: task.cancelled() or task.exception())  # ends with ws
                answer = {"type": "stream.started", "payload": {"ok": True, "rate": RATE}}
            except (TypeError, ValueError, OverflowError) as error:
                fault = error
        if "id" in message:  # the payload says whether the command was carried out
            answer = answer or {"type": "error", "payload": {"ok": False, "error": str(fault)}}
            await ws.send(json.dumps(answer | {"re": message["id"]}))
    return pause


async def main(uri):
    attempt = 0
    while True:
        began, pause, ws = time.monotonic(), 0, None
        try:  # without max_size the library refuses messages above 1 MiB
            async with websockets.connect(uri, subprotocols=["labgate.v1"], max_size=None) as ws:
                pause = await serve(ws)
        except (OSError, asyncio.TimeoutError, websockets.WebSocketException) as error:
            print(error, flush=True)
            answer = getattr(error, "response", error)  # of a refused handshake
            pause = float(getattr(answer, "headers", {}).get("Retry-After", 0))
            if getattr(answer, "status_code", 0) in STAY_AWAY:
                sys.exit(1)
        if ws and ws.close_code in STAY_AWAY:
            sys.exit(f"closed with {ws.close_code} {ws.close_reason}")
        # Full jitter: random up to a bound that doubles from 0.5 s to 20 s.
        attempt = 0 if time.monotonic() - began > 20 else min(attempt + 1, 6)
        await asyncio.sleep(pause + random.uniform(0, min(20, 0.25 * 2**attempt)))


if __name__ == "__main__":
    url, device = [*sys.argv[1:], *["ws://127.0.0.1:8080", "python-1"][len(sys.argv) - 1 :]]
    asyncio.run(main(f"{url}/ws/device/{device}?type=example"))
