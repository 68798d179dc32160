package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// maxConfig bounds the configuration file in bytes.
const maxConfig = 1 << 20

// loadConfig reads a JSON configuration file for kong. Unlike kong's own
// loader it refuses keys that no option has: a misspelt limit that is ignored
// would be found only when it is missed.
func loadConfig(r io.Reader) (kong.Resolver, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxConfig {
		return nil, fmt.Errorf("configuration file: larger than %d bytes; is this the right file?", maxConfig)
	}
	raw := map[string]any{}
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber()
	if err := dec.Decode(&raw); err != nil {
		return nil, fmt.Errorf("configuration file: %w; it must be one JSON object", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("configuration file: something follows the object; it must be one JSON object")
	}
	c := configFile{}
	for key, value := range raw {
		c[strings.ReplaceAll(key, "_", "-")] = value
	}
	return c, nil
}

// configFile resolves options by name.
type configFile map[string]any

// Validate refuses keys that belong to no option of any command.
func (c configFile) Validate(app *kong.Application) error {
	known := map[string]bool{}
	var visit func(n *kong.Node)
	visit = func(n *kong.Node) {
		for _, f := range n.Flags {
			known[f.Name] = true
		}
		for _, child := range n.Children {
			visit(child)
		}
	}
	visit(app.Node)
	for key := range c {
		if !known[key] || key == "config" || key == "help" {
			return fmt.Errorf("configuration file: %q is not an option; labgate serve --help lists them", key)
		}
	}
	return nil
}

// Resolve returns the file's value for an option.
func (c configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	value, ok := c[flag.Name]
	if !ok {
		return nil, nil
	}
	// kong asks the file even where a variable has spoken.
	for _, name := range flag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	switch v := value.(type) {
	case json.Number:
		return v.String(), nil
	case map[string]any, nil:
		return nil, fmt.Errorf("configuration file: %q must be a string, a number, true, false or a list", flag.Name)
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("configuration file: %q must be a list of strings", flag.Name)
			}
			items[i] = s
		}
		return strings.Join(items, ","), nil
	default:
		return v, nil
	}
}
