package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/labgate/labgate/client"
	"github.com/labgate/labgate/protocol"
)

// SendCmd sends one command and waits for its answer.
type SendCmd struct {
	ClientOptions
	Device  string        `argument:"DEVICE" required:"true" help:"The device to command."`
	Type    string        `argument:"TYPE" required:"true" help:"The command, such as test.start."`
	Payload string        `argument:"PAYLOAD" help:"JSON payload, such as '{\"speed_mm_min\": 50}'."`
	Urgent  bool          `option:"urgent" help:"Deliver the command ahead of everything that waits for the device."`
	Timeout time.Duration `option:"timeout" default:"10s" min:"1ms" max:"10m" help:"How long to wait for the answer."`
}

// Run prints the answer as the gateway delivered it. No answer is an error, and so is
// an answer by which the device refused the command.
func (c *SendCmd) Run(ctx context.Context, out *Streams) error {
	token, err := c.token()
	if err != nil {
		return err
	}
	var payload any
	if c.Payload != "" {
		if err := checkPayload(c.Payload); err != nil {
			return err
		}
		payload = json.RawMessage(c.Payload)
	}
	dial, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	fe, err := client.DialFrontend(dial, client.Config{URL: c.URL, Token: token}, client.FrontendConfig{Telemetry: protocol.TelemetryNone})
	if err != nil {
		return err
	}
	defer fe.Close()
	opts := []client.CommandOption{client.Timeout(c.Timeout)}
	if c.Urgent {
		opts = append(opts, client.Urgent())
	}
	answer, err := fe.Command(ctx, c.Device, c.Type, payload, opts...)
	if refused := (*client.CommandRefusedError)(nil); err != nil && !errors.As(err, &refused) {
		return err
	}
	text, encodeErr := json.Marshal(answer)
	if encodeErr != nil {
		return encodeErr
	}
	if _, err := fmt.Fprintf(out.Out, "%s\n", text); err != nil {
		return err
	}
	return err
}

// bareWord matches a name without quotes where JSON requires a string: the rest
// of a quoted name after a shell has removed the quotes.
var bareWord = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_.-]*`)

// checkPayload returns an error for a payload that is not JSON. Usually the
// shell has removed the double quotes; then the error shows how to write the
// payload.
func checkPayload(payload string) error {
	var value any
	err := json.Unmarshal([]byte(payload), &value)
	if err == nil {
		return nil
	}
	quoted := bareWord.ReplaceAllStringFunc(payload, func(word string) string {
		switch word {
		case "true", "false", "null":
			return word
		}
		return `"` + word + `"`
	})
	if !strings.Contains(payload, `"`) && json.Valid([]byte(quoted)) {
		return fmt.Errorf("PAYLOAD %s is not JSON: double quotes are missing, perhaps because the shell removed them; write '%s', with the single quotes", payload, quoted)
	}
	return fmt.Errorf("PAYLOAD %s is not JSON: %w; write for example '{\"speed_mm_min\": 50}', with the single quotes", payload, err)
}
