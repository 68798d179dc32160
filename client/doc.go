// Package client connects programs to a Labgate gateway: devices, which send
// telemetry and carry out commands, and front ends, which receive telemetry
// and give commands.
//
//	dev, err := client.DialDevice(ctx, client.Config{URL: "ws://127.0.0.1:8080"}, client.DeviceConfig{
//		ID: "tensile-1",
//		OnCommand: func(ctx context.Context, cmd protocol.Message) (any, error) { ... },
//	})
//	stream, err := client.NewStream[float32](dev, 3, 100*time.Microsecond, 100)
//	stream.Append(force, extension, temperature)
//
//	fe, err := client.DialFrontend(ctx, cfg, client.FrontendConfig{OnTelemetry: ...})
//	answer, err := fe.Command(ctx, "tensile-1", "test.start", params, client.Timeout(5*time.Second))
//
// # Connection
//
// The first connection is made by Dial, whose error says why it failed; a
// refusal by the gateway is a [*RefusedError]. From then on the client connects
// again by itself, after pauses with full jitter (see [Backoff]), until Close
// is called or the gateway says that it should not: by a close code whose
// Reconnect is false, such as "replaced" or "kicked", or by a refusal that a
// repetition cannot change. With a TokenSource a refused token is not one of
// these: the next attempt has another. Done is then closed and Err says why.
//
// # What is sent
//
// Nothing is sent twice. Text that was accepted for a connection goes out on
// that connection or not at all; a command whose connection is lost fails at
// once with [ErrConnectionLost], and may or may not have been carried out.
// Telemetry is kept over a reconnect, within the bound of [SendBuffer]: beyond
// it the oldest frames are dropped and counted, and the receivers see the
// exact gap in the sample numbers.
//
// Messages leave in the order urgent text, text, telemetry, and in the order
// in which they were given within each. A text message can thus overtake
// telemetry that was given before it; sample numbers and time stamps keep the
// true order.
//
// # Callbacks
//
// All callbacks but OnCommand are called from the connection's one reading
// goroutine, one after another, in the order in which messages arrived. While
// one runs nothing is read, not even a ping: return soon, and hand longer work
// to a goroutine of your own. A callback must not call Command, Subscribe,
// Unsubscribe, Flush or Close of its own client, which wait for that goroutine;
// Send and the streams never wait. Callbacks may run before Dial returns.
//
// OnCommand runs in other goroutines: ordinary commands one at a time, in
// order, urgent ones at once beside them. See [DeviceConfig].
//
// A panic in a callback is caught, logged with its stack (to standard error if
// there is no Logger) and counted in Stats; the message that caused it is
// lost, the connection goes on. A command whose handler panics is answered
// with an error.
package client
