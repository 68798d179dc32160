package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rs/zerolog"
)

// Streams is where a command writes: results to Out, the rest to Err or Log.
type Streams struct {
	Out, Err io.Writer
	Log      zerolog.Logger
}

// clientOptions are the options of every command that connects to a gateway.
type clientOptions struct {
	URL       string `name:"url" help:"The gateway's address: ws://, wss://, http:// or https://." default:"ws://127.0.0.1:8080"`
	TokenFile string `help:"File whose first line is the token to present." type:"path" placeholder:"FILE"`
}

// token reads the token file.
func (c *clientOptions) token() (string, error) {
	if c.TokenFile == "" {
		return "", nil
	}
	data, err := os.ReadFile(c.TokenFile)
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
