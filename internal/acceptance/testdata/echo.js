// Talks to /ws/echo with the ws library; prints good, or fails.
const { createRequire } = require('module');
const WebSocket = createRequire(process.argv[2])('ws');
const assert = require('assert');

const ws = new WebSocket(process.argv[3], { perMessageDeflate: true });
const messages = [];
for (const n of [0, 1, 125, 126, 65535, 65536, 1 << 20, 16 << 20]) {
  messages.push(['é'.repeat(n / 2), false], [Buffer.alloc(n, 0xff), true]);
}
let next = 0;
ws.on('open', () => {
  assert.strictEqual(ws.extensions, '');
  ws.ping('are you there');
});
ws.on('pong', (data) => {
  assert.strictEqual(data.toString(), 'are you there');
  ws.send(messages[0][0]);
});
ws.on('message', (data, binary) => {
  const [sent, wasBinary] = messages[next];
  assert.strictEqual(binary, wasBinary);
  assert(Buffer.from(sent).equals(data), `message ${next}`);
  if (++next < messages.length) {
    ws.send(messages[next][0]);
  } else {
    ws.close(4321, 'done');
  }
});
ws.on('close', (code) => {
  assert.strictEqual(code, 4321);
  console.log('good');
});
