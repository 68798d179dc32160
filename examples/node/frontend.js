#!/usr/bin/env node
// A front end: has a device stream for some seconds and checks that each sample
// arrives once and in order.
//
//   node frontend.js [ws://127.0.0.1:8080] [device-id] [samples-per-frame] [seconds]
//
// Needs the package "ws": npm ci in this folder. Connects again when the
// connection is lost; samples missed meanwhile count as gaps. Prints one JSON
// object; the exit code is 0 when no sample was missing.
'use strict'
const WebSocket = require('ws')

const [url = 'ws://127.0.0.1:8080', device = 'python-1', perFrame = '100', seconds = '5'] = process.argv.slice(2)
const STAY_AWAY = [1000, 1002, 1003, 1007, 1009, 4000, 4001, 4005, 4008] // docs/protocol.md, "Closing"
const expected = 10_000 * Number(seconds)
const seen = { samples: 0, frames: 0, gaps: 0, repeated: 0, lost: 0, connections: 0, answer: null, finished: false }
let ws = null
let attempt = 0
let pause = 0 // pause that the gateway requests before the next attempt, milliseconds
let stream = null // the device's number in telemetry frames
let started = false
let next = 0n // number of the next sample if none is missing

const timer = setTimeout(() => end('timed out'), (Number(seconds) + 20) * 1000)
connect()

function connect () {
  const began = performance.now()
  ws = new WebSocket(`${url}/ws/frontend?telemetry=all`, ['labgate.v1'])
  ws.on('error', () => {}) // close follows
  ws.on('unexpected-response', (_, { statusCode, headers }) => {
    if (statusCode < 500 && statusCode !== 429) end(`refused with ${statusCode}`)
    pause = 1000 * Number(headers['retry-after'] ?? 0)
    ws.terminate()
  })
  ws.on('close', code => {
    if (STAY_AWAY.includes(code)) end(`closed with ${code}`)
    if (performance.now() - began > 20_000) attempt = 0
    // Full jitter: random up to a bound that doubles from 0.5 s to 20 s.
    setTimeout(connect, pause + Math.random() * Math.min(20_000, 500 * 2 ** attempt++))
    pause = 0
  })
  ws.on('message', (data, isBinary) => isBinary ? onTelemetry(data) : onMessage(JSON.parse(data)))
}

function onMessage (message) {
  const { type, payload } = message
  if (type === 'gateway.welcome') {
    seen.connections++
    payload.devices.forEach(found)
  }
  if (type === 'gateway.device_online') found(payload)
  if (type === 'gateway.closing') pause = payload.retry_after_ms
  if (type === 'gateway.lost' && payload.stream === stream) seen.lost += payload.inexact ? payload.samples ?? 0 : payload.to - payload.from
  if (type === 'gateway.error') end(payload.message)
  if (message.re === 'start-1' && message.src === device) {
    seen.answer = message
    if (payload?.ok === false) end(`the device refused: ${payload.error}`) // docs/protocol.md, "Answers"
  }
  if (type === 'stream.finished' && message.src === device) seen.finished = true
  check()
}

// The device is connected: note the number of its stream and send the command.
function found (info) {
  if (info.device_id !== device) return
  stream = info.stream
  if (started) return
  started = true
  const payload = { seconds: Number(seconds), samples_per_frame: Number(perFrame) }
  ws.send(JSON.stringify({ type: 'stream.start', id: 'start-1', dst: device, payload }))
}

function onTelemetry (frame) {
  if (frame.readUInt32LE(4) !== stream) return
  const seq = frame.readBigUInt64LE(8)
  const count = frame.readUInt16LE(30)
  if (seq > next) seen.gaps += Number(seq - next)
  if (seq < next) seen.repeated += Number(next - seq)
  next = seq + BigInt(count)
  seen.samples += count
  seen.frames++
  check()
}

function check () {
  if (seen.finished && seen.answer && next >= expected) end(null)
}

function end (error) {
  clearTimeout(timer)
  const good = !error && seen.samples === expected && seen.gaps + seen.repeated + seen.lost === 0
  console.log(JSON.stringify({ good, error, expected, ...seen }))
  process.exit(good ? 0 : 1)
}
