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
// A device reports a failure in the payload of its answer, {"ok": false, "error":
// "reason"}: DialDevice sends that for an error of OnCommand, and Command returns it
// as a [*CommandRefusedError].
//
// # Connection
//
// Dial makes the first connection, and its error says why an attempt failed; a
// refusal by the gateway is a [*RefusedError]. After that the client reconnects
// by itself, after pauses with full jitter (see [Backoff]). The client stops
// when Close is called, or when the gateway forbids a reconnect: by a close
// code whose Reconnect is false, such as "replaced" or "kicked", or by a
// refusal that would be repeated. With a TokenSource the client also reconnects
// after a refused token, because the next attempt has another token. At the end
// Done is closed, and Err says why.
//
// # What is sent
//
// No message is sent twice. Text that was accepted for a connection is sent on
// that connection or not at all; a command whose connection is lost fails at
// once with [ErrConnectionLost], and may or may not have been carried out.
// Telemetry waits for the next connection, within the limit of [SendBuffer]:
// beyond the limit the oldest frames are dropped and counted, and the receivers
// see the exact gap in the sample numbers.
//
// Urgent text is sent first, then other text, then telemetry, each in the order
// in which the program passed the messages to the client. So a text message can
// overtake earlier telemetry; sample numbers and time stamps show the true
// order.
//
// # Callbacks
//
// All callbacks but OnCommand are called from the connection's one reading
// goroutine, one after another, in the order in which messages arrived. While a
// callback runs, the client reads nothing, not even a ping: return soon, and do
// longer work on a goroutine of your own. A callback must not call Command,
// Subscribe, Unsubscribe, Flush or Close of its own client, which wait for that
// goroutine; Send and the streams never wait. Callbacks may run before Dial
// returns.
//
// OnCommand runs on other goroutines: ordinary commands one at a time, in
// order; urgent commands at once, beside them. See [DeviceConfig].
//
// A panic in a callback is caught, logged with its stack (to standard error if
// there is no Logger) and counted in Stats. The message that caused the panic
// is lost, and the connection continues. A command whose handler panics is
// answered with an error.
package client
