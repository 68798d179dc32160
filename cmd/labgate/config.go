package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/labgate/labgate/internal/option"
	"github.com/labgate/labgate/internal/textfile"
)

// maxConfig bounds the configuration file in bytes.
const maxConfig = 1 << 20

// configFile is a JSON configuration file: one object whose keys are names of
// options, with _ or - between words.
type configFile struct {
	path    string
	entries map[string]configEntry // by the option's name
}

// configEntry is one key of the file.
type configEntry struct {
	key   string // as written
	line  int
	value json.RawMessage
}

// readConfig reads a file and refuses keys that belong to no option of any
// command: an ignored misspelt limit would be noticed only when the limit is
// needed. Errors name file, line and key.
func readConfig(path string) (*configFile, error) {
	data, err := textfile.Read(path, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	c := &configFile{path: path, entries: map[string]configEntry{}}
	if err := c.parse(data); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *configFile) parse(data []byte) error {
	lineAt := func(offset int64) int {
		return 1 + bytes.Count(data[:min(max(offset, 0), int64(len(data)))], []byte("\n"))
	}
	key := ""
	// fail adds the line and the last key to an error of the JSON decoder.
	fail := func(dec *json.Decoder, err error) error {
		where := lineAt(dec.InputOffset())
		// The decoder's offset does not count from the beginning of the file.
		syntax := (*json.SyntaxError)(nil)
		if errors.As(json.Unmarshal(data, new(json.RawMessage)), &syntax) {
			where = lineAt(syntax.Offset - 1)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			where, err = lineAt(int64(len(data))), errors.New("the file ends too early")
		}
		if key != "" {
			return fmt.Errorf("%s:%d: at or after key %q: %w; the file must be one JSON object", c.path, where, key, err)
		}
		return fmt.Errorf("%s:%d: %w; the file must be one JSON object", c.path, where, err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil {
		return fail(dec, err)
	} else if open != json.Delim('{') {
		return fmt.Errorf("%s:1: the file must be one JSON object, such as {\"listen\": \"127.0.0.1:9000\"}", c.path)
	}
	known := configKeys()
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return fail(dec, err)
		}
		key = token.(string) // the decoder accepts only strings as keys
		entry := configEntry{key: key, line: lineAt(dec.InputOffset())}
		if err := dec.Decode(&entry.value); err != nil {
			return fail(dec, err)
		}
		if err := c.add(entry, known); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return fail(dec, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s:%d: something follows the object; the file must be one JSON object", c.path, lineAt(dec.InputOffset()))
	}
	return nil
}

// add refuses unknown keys and duplicate keys.
func (c *configFile) add(entry configEntry, known []string) error {
	name := strings.ReplaceAll(entry.key, "_", "-")
	if first, twice := c.entries[name]; twice {
		return fmt.Errorf("%s:%d: key %q sets --%s again, which key %q in line %d has set; remove one", c.path, entry.line, entry.key, name, first.key, first.line)
	}
	for _, k := range known {
		if k == name {
			c.entries[name] = entry
			return nil
		}
	}
	meant := "labgate help serve lists the options"
	if near := option.Nearest(name, known); near != "" {
		meant = fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Errorf("%s:%d: key %q is not an option; %s", c.path, entry.line, entry.key, meant)
}

// configKeys returns the keys that a file may use.
func configKeys() []string {
	var names []string
	seen := map[string]bool{}
	list := option.Of(&globalOptions{})
	for _, spec := range commands() {
		list = append(list, option.Of(spec.new())...)
	}
	for _, o := range list {
		if !o.Positional && !onlyFlags[o.Name] && !seen[o.Name] {
			seen[o.Name] = true
			names = append(names, o.Name)
		}
	}
	return names
}

// set sets an option to the file's value, if the file has one. A nil file has
// no values.
func (c *configFile) set(o *option.Option) (bool, error) {
	if c == nil {
		return false, nil
	}
	entry, ok := c.entries[o.Name]
	if !ok {
		return false, nil
	}
	texts, err := entry.texts(o)
	if err == nil {
		err = o.Set(texts...)
	}
	if err != nil {
		return false, fmt.Errorf("%s:%d: key %q: %w", c.path, entry.line, entry.key, err)
	}
	return true, nil
}

// texts returns the value in the form of the command line.
func (e *configEntry) texts(o *option.Option) ([]string, error) {
	dec := json.NewDecoder(bytes.NewReader(e.value))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return nil, err
	}
	switch v := value.(type) {
	case string:
		return []string{v}, nil
	case json.Number:
		return []string{v.String()}, nil
	case bool:
		return []string{fmt.Sprint(v)}, nil
	case []any:
		if !o.List() {
			return nil, errors.New("one value belongs here, not a list")
		}
		texts := []string{""} // an empty list is a value, too
		for _, item := range v {
			text, ok := item.(string)
			if !ok {
				return nil, errors.New("the list must hold strings")
			}
			texts = append(texts, text)
		}
		return texts, nil
	}
	return nil, errors.New("the value must be a string, a number, true, false or a list of strings")
}
