package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/labgate/labgate/internal/option"
)

// HelpCmd prints the help of labgate or of one command.
type HelpCmd struct {
	Command string `argument:"COMMAND" help:"The command to explain."`
}

// Run prints the help.
func (c *HelpCmd) Run(_ context.Context, out *Streams) error {
	text := overview()
	if c.Command != "" {
		spec := commandNamed(c.Command)
		if spec == nil {
			return unknownCommand(c.Command)
		}
		text = commandHelp(spec)
	}
	_, err := io.WriteString(out.Out, text)
	return err
}

// helpWidth is the width of the help in columns, that of a small terminal.
const helpWidth = 80

// groups are the headings of the options of labgate serve, in the order of the
// help.
var groups = []struct{ key, title string }{
	{"", "Options:"},
	{"net", "Listeners and limits:"},
	{"auth", "Who may connect:"},
	{"cluster", "Several nodes, through Redis:"},
	{"tls", "TLS:"},
	{"live", "Liveness:"},
	{"queue", "Queues and flushing:"},
	{"io", "Event loop:"},
}

// overview returns the help of labgate without a command.
func overview() string {
	var b strings.Builder
	b.WriteString("Usage: labgate COMMAND [options]\n\n")
	b.WriteString(wrap("A WebSocket gateway for laboratories: devices report telemetry and state, front ends watch and command them.", 0))
	b.WriteString("\n" + commandList() + "\n")
	b.WriteString(wrap("Each option is also an environment variable, shown in the help of its command, and a key of the file that --config names. A flag wins over a variable, a variable over the file; an empty variable counts as not set.", 0))
	b.WriteString("\nExample:\n  labgate serve\n  labgate simulate --device tensile --devices 2\n  labgate help serve\n")
	writeOptions(&b, nil, "Options of every command:", option.Of(&globalOptions{}))
	return b.String()
}

// commandList returns a line for each command.
func commandList() string {
	var b strings.Builder
	b.WriteString("Commands:\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-9s %s\n", c.name, c.summary)
	}
	return b.String()
}

// commandHelp returns the help of one command.
func commandHelp(spec *commandSpec) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s\n\n%s", usage(spec), wrap(spec.summary, 0))
	if spec.details != "" {
		b.WriteString("\n" + wrap(spec.details, 0))
	}
	b.WriteString("\nExample:\n" + indent(spec.example, 2))
	byGroup := map[string][]*option.Option{}
	var arguments []*option.Option
	for _, o := range option.Of(spec.new()) {
		if o.Positional {
			arguments = append(arguments, o)
		} else {
			byGroup[o.Group] = append(byGroup[o.Group], o)
		}
	}
	writeOptions(&b, spec, "Arguments:", arguments)
	for _, g := range groups {
		writeOptions(&b, spec, g.title, byGroup[g.key])
	}
	writeOptions(&b, nil, "Options of every command:", option.Of(&globalOptions{}))
	return b.String()
}

// usage returns the syntax of a command line.
func usage(spec *commandSpec) string {
	text := "labgate " + spec.name + " [options]"
	for _, o := range option.Of(spec.new()) {
		switch {
		case !o.Positional:
		case o.List():
			text += " [" + o.Name + " ...]"
		case o.Required:
			text += " " + o.Name
		default:
			text += " [" + o.Name + "]"
		}
	}
	return text
}

func writeOptions(b *strings.Builder, spec *commandSpec, title string, list []*option.Option) {
	if len(list) == 0 {
		return
	}
	b.WriteString("\n" + title + "\n")
	for _, o := range list {
		b.WriteString("  " + o.Flag())
		if p := placeholder(o); p != "" && !o.Positional {
			b.WriteString(" " + p)
		}
		b.WriteString("\n" + wrap(explain(spec, o), 6))
	}
}

// placeholder returns the word that the help shows in place of an option's
// value.
func placeholder(o *option.Option) string {
	switch {
	case o.Switch():
		return ""
	case o.Placeholder != "":
		if o.List() {
			return o.Placeholder + ",..."
		}
		return o.Placeholder
	case o.Words != nil:
		return strings.Join(o.Words, "|")
	}
	return o.Kind()
}

// explain returns the help of an option with its bounds, its default and its
// variable.
func explain(spec *commandSpec, o *option.Option) string {
	text := o.Help
	if bounds := o.Bounds(); bounds != "" {
		text += " Use " + bounds + "."
	} else if o.Zero != "" {
		text += " 0: " + o.Zero + "."
	}
	switch {
	case o.Default != "":
		text += " Default: " + o.Default + "."
	case o.Unset != "":
		text += " Default: " + o.Unset + "."
	}
	if name := variable(spec, o); name != "" {
		text += " [$" + name + "]"
	}
	return text
}

// wrap breaks lines at helpWidth and indents them. Lines that begin with a space
// stay as they are.
func wrap(text string, margin int) string {
	var b strings.Builder
	for paragraph := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(paragraph, " ") {
			b.WriteString(paragraph + "\n")
			continue
		}
		line := strings.Repeat(" ", margin)
		empty := true
		for word := range strings.FieldsSeq(paragraph) {
			if !empty && len(line)+1+len(word) > helpWidth {
				b.WriteString(line + "\n")
				line, empty = strings.Repeat(" ", margin), true
			}
			if !empty {
				line += " "
			}
			line, empty = line+word, false
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

func indent(text string, margin int) string {
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteString(strings.Repeat(" ", margin) + line + "\n")
	}
	return b.String()
}
