package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/client"
	"github.com/labgate/labgate/internal/textfile"
)

// Streams are the outputs of a command: results go to Out, everything else to
// Err or Log.
type Streams struct {
	Out, Err io.Writer
	Log      zerolog.Logger
}

// ClientOptions are the options of all commands that connect to a gateway.
type ClientOptions struct {
	URL       string `option:"url" placeholder:"URL" help:"The gateway's address: ws://, wss://, http:// or https://." default:"ws://127.0.0.1:8080"`
	TokenFile string `option:"token-file" type:"path" placeholder:"FILE" help:"File whose first line is the token for the gateway. The file is read for each connection, and again when the token is about to expire."`
}

// config returns the configuration of a client that reconnects.
func (c *ClientOptions) config(log *zerolog.Logger) client.Config {
	cfg := client.Config{URL: c.URL, Logger: log}
	if c.TokenFile != "" {
		cfg.TokenSource = func(context.Context) (string, error) { return c.token() }
	}
	return cfg
}

// maxTokenFile limits the size of --token-file, in bytes.
const maxTokenFile = 64 << 10

// token reads the token file.
func (c *ClientOptions) token() (string, error) {
	if c.TokenFile == "" {
		return "", nil
	}
	data, err := textfile.Read(c.TokenFile, maxTokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	token := strings.TrimSpace(line)
	if token == "" {
		return "", fmt.Errorf("--token-file: the first line of %s is empty; put the token there", c.TokenFile)
	}
	return token, nil
}
