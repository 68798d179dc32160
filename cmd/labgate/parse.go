package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/labgate/labgate/internal/option"
)

// commandLine is the parsed result of the arguments, the environment and the
// configuration file.
type commandLine struct {
	global  globalOptions
	spec    *commandSpec // nil until the command is known
	command runner
}

// given collects the values of one option on the command line, until resolve
// decides which source wins.
type given struct {
	option *option.Option
	texts  []string
}

// String, Set and Type implement pflag.Value.
func (g *given) String() string { return strings.Join(g.texts, ",") }

// Set takes one occurrence of the flag.
func (g *given) Set(text string) error {
	g.texts = append(g.texts, text)
	return nil
}

// Type is unused: labgate prints its own help.
func (g *given) Type() string { return "" }

// parse reads the command line: global options, the name of a command, and its
// options and arguments. environment has the form of os.Environ. The returned
// commandLine is never nil.
func parse(args, environment []string) (*commandLine, error) {
	line := &commandLine{}
	global := collect(&line.global)

	flags := newFlagSet(global)
	flags.SetInterspersed(false)
	if err := flags.Parse(args); errors.Is(err, pflag.ErrHelp) {
		line.command = &HelpCmd{}
		return line, nil
	} else if err != nil {
		return line, flagError(err, global)
	}
	rest := flags.Args()
	switch {
	case flags.Changed("version"):
		line.command = &VersionCmd{}
		return line, nil
	case len(rest) == 0:
		return line, errors.New("no command is given")
	}
	spec := commandNamed(rest[0])
	if spec == nil {
		return line, unknownCommand(rest[0])
	}
	line.spec, line.command = spec, spec.new()
	own := collect(line.command)

	flags = newFlagSet(append(flagsOf(own), global...))
	if err := flags.Parse(rest[1:]); errors.Is(err, pflag.ErrHelp) {
		line.command = &HelpCmd{Command: spec.name}
		return line, nil
	} else if err != nil {
		return line, flagError(err, append(own, global...))
	}
	if flags.Changed("version") {
		line.command = &VersionCmd{}
		return line, nil
	}
	if err := positional(spec, own, flags.Args()); err != nil {
		return line, err
	}
	if len(flagsOf(own)) == 0 {
		// help and version do not depend on the environment.
		return line, setAll(own)
	}
	return line, line.resolve(global, own, environment)
}

// resolve sets every option: a flag wins over a variable, a variable over the
// configuration file, and the file over the default.
func (line *commandLine) resolve(global, own []*given, environment []string) error {
	variables, err := labgateVariables(environment)
	if err != nil {
		return err
	}
	var file *configFile
	for _, g := range global {
		if g.option.Name == "config" && len(g.texts) > 0 {
			if err := g.option.Set(g.texts...); err != nil {
				return err
			}
			if file, err = readConfig(line.global.Config); err != nil {
				return err
			}
		}
	}
	for _, g := range global {
		if err := g.resolve(variables, variable(nil, g.option), file); err != nil {
			return err
		}
	}
	for _, g := range own {
		if err := g.resolve(variables, variable(line.spec, g.option), file); err != nil {
			return err
		}
	}
	return nil
}

// setAll sets options from the command line alone.
func setAll(list []*given) error {
	for _, g := range list {
		if err := g.resolve(nil, "", nil); err != nil {
			return err
		}
	}
	return nil
}

// resolve sets one option. An empty variable counts as not set.
func (g *given) resolve(variables map[string]string, variable string, file *configFile) error {
	o := g.option
	if len(g.texts) > 0 {
		return o.Set(g.texts...)
	}
	if text := variables[variable]; text != "" {
		if err := o.Set(text); err != nil {
			return fmt.Errorf("variable %s: %w", variable, err)
		}
		return nil
	}
	if !o.Positional && !onlyFlags[o.Name] {
		if set, err := file.set(o); set || err != nil {
			return err
		}
	}
	if o.Required {
		if o.Words != nil {
			return fmt.Errorf("%s is missing; use one of %s", o.Flag(), strings.Join(o.Words, ", "))
		}
		return fmt.Errorf("%s is missing", o.Flag())
	}
	o.SetDefault()
	return nil
}

func collect(structs ...any) []*given {
	options := option.Of(structs...)
	list := make([]*given, len(options))
	for i, o := range options {
		list[i] = &given{option: o}
	}
	return list
}

// flagsOf leaves out positional arguments.
func flagsOf(list []*given) []*given {
	var flags []*given
	for _, g := range list {
		if !g.option.Positional {
			flags = append(flags, g)
		}
	}
	return flags
}

func newFlagSet(list []*given) *pflag.FlagSet {
	flags := pflag.NewFlagSet("labgate", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	for _, g := range list {
		f := flags.VarPF(g, g.option.Name, "", "")
		if g.option.Switch() {
			f.NoOptDefVal = "true"
		}
	}
	return flags
}

// flagError names the option that may have been meant.
func flagError(err error, list []*given) error {
	if unknown := (*pflag.NotExistError)(nil); errors.As(err, &unknown) {
		names := make([]string, len(list))
		for i, g := range list {
			names[i] = g.option.Name
		}
		if meant := option.Nearest(unknown.GetSpecifiedName(), names); meant != "" {
			return fmt.Errorf("%w; did you mean --%s?", err, meant)
		}
	}
	return err
}

// positional hands the arguments to those that are declared; a list takes all
// that are left.
func positional(spec *commandSpec, list []*given, args []string) error {
	for _, g := range list {
		switch o := g.option; {
		case !o.Positional:
		case o.List():
			g.texts, args = args, nil
		case len(args) > 0:
			g.texts, args = args[:1], args[1:]
		case o.Required:
			return fmt.Errorf("expected %s; usage: %s", o.Name, usage(spec))
		}
	}
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q; usage: %s", args[0], usage(spec))
	}
	return nil
}
