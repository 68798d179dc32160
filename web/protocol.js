// The wire format labgate.v1, as far as a front end needs it.

export const SUBPROTOCOL = "labgate.v1";
export const KIND_SAMPLES = 1;
export const KIND_BUCKETS = 2;

const HEADER_SIZE = 32;

// The arrays read values in the machine's byte order, which is little-endian
// wherever browsers run; the header's size keeps them aligned.
const FORMATS = new Map([
  [1, { name: "f32", array: Float32Array }],
  [2, { name: "f64", array: Float64Array }],
  [3, { name: "i16", array: Int16Array }],
  [4, { name: "i32", array: Int32Array }],
]);

const MAX_SEQ = 2n ** 64n - 1n;

// parseFrame reads a telemetry frame. values is a view into buffer: all
// channels of the first sample, then of the second. seq and t0 are BigInts.
// It throws an Error that says what is wrong with the frame.
export function parseFrame(buffer) {
  if (buffer.byteLength < HEADER_SIZE) {
    throw new Error(`${buffer.byteLength} bytes, a telemetry frame starts with ${HEADER_SIZE}`);
  }
  const view = new DataView(buffer);
  const version = view.getUint8(0);
  const format = FORMATS.get(view.getUint8(2));
  const frame = {
    kind: view.getUint8(1),
    format: format?.name,
    stream: view.getUint32(4, true),
    seq: view.getBigUint64(8, true),
    t0: view.getBigInt64(16, true),
    dt: view.getUint32(24, true),
    channels: view.getUint16(28, true),
    count: view.getUint16(30, true),
    values: null,
  };
  if (version !== 1) throw new Error(`version ${version} is unknown`);
  if (frame.kind !== KIND_SAMPLES && frame.kind !== KIND_BUCKETS) throw new Error(`kind ${frame.kind} is unknown`);
  if (!format) throw new Error(`format ${view.getUint8(2)} is unknown`);
  if (frame.channels === 0) throw new Error("it has no channels");
  if (frame.count === 0) throw new Error("it has no samples");
  if (frame.kind === KIND_BUCKETS && frame.count % 4 !== 0) throw new Error(`an envelope of ${frame.count} values is not made of four each`);
  if (frame.seq > MAX_SEQ - BigInt(frame.count)) throw new Error("its sample numbers exceed 64 bits");
  const length = frame.count * frame.channels;
  const size = length * format.array.BYTES_PER_ELEMENT;
  if (buffer.byteLength !== HEADER_SIZE + size) {
    throw new Error(`${frame.count} samples of ${frame.channels} channels need ${size} bytes, it has ${buffer.byteLength - HEADER_SIZE}`);
  }
  frame.values = new format.array(buffer, HEADER_SIZE, length);
  return frame;
}

// Close codes: the name, and whether to reconnect. No reconnect after codes
// that would only be repeated, and after codes that an operator caused on
// purpose.
const CLOSE_CODES = new Map([
  [1000, ["normal", false]],
  [1001, ["going_away", true]],
  [1002, ["protocol_error", false]],
  [1003, ["unsupported_data", false]],
  [1005, ["no_status", true]],
  [1006, ["abnormal", true]],
  [1007, ["invalid_data", false]],
  [1009, ["too_large", false]],
  [1011, ["internal_error", true]],
  [4000, ["replaced", false]],
  [4001, ["unauthorized", false]],
  [4002, ["heartbeat_timeout", true]],
  [4003, ["idle", true]],
  [4004, ["slow_consumer", true]],
  [4005, ["bad_message", false]],
  [4006, ["rate_limited", true]],
  [4007, ["duplicate_device", true]],
  [4008, ["kicked", false]],
]);

export function closeCode(code) {
  const [name, reconnect] = CLOSE_CODES.get(code) ?? ["other", true];
  return { name, reconnect };
}

// A token may contain the characters of a sub-protocol name, because a browser
// sends the token as a sub-protocol.
export function validToken(token) {
  return /^[A-Za-z0-9._~-]{1,4096}$/.test(token);
}
