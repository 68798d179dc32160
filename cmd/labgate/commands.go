package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/labgate/labgate/internal/option"
	"github.com/labgate/labgate/internal/tensile"
)

// runner is a command with its options.
type runner interface {
	Run(ctx context.Context, out *Streams) error
}

// commandSpec is one command of labgate. The tags on the fields of the struct
// that new returns declare the options (package option).
type commandSpec struct {
	name    string
	summary string
	details string // paragraphs for the help of this command
	example string
	new     func() runner
}

// globalOptions may be given before or after the name of a command.
type globalOptions struct {
	Config   string `option:"config" type:"path" placeholder:"FILE" help:"JSON configuration file: option names as keys, with _ or - between words. A flag wins over a variable, a variable over the file."`
	LogLevel string `option:"log-level" enum:"debug,info,warn,error" default:"info" help:"Lowest level of messages that the log shows."`
	LogJSON  bool   `option:"log-json" help:"Log JSON even on a terminal."`
	Version  bool   `option:"version" help:"Print the version and exit."`
}

// onlyFlags are the options that no variable and no key of the configuration
// file can set.
var onlyFlags = map[string]bool{"config": true, "version": true}

// commands lists all commands in the order of the help.
func commands() []*commandSpec {
	return []*commandSpec{
		{
			name: "serve", summary: "Run the gateway.",
			details: "SIGTERM or SIGINT drains the gateway: new connections are refused, queued messages are sent, and after --drain-timeout the remaining connections are cut. A second signal ends the gateway at once. SIGHUP reads credentials, the certificate and descriptions again.",
			example: "labgate serve --listen :8080 --credential-file tokens\nLABGATE_LISTEN=127.0.0.1:9080 labgate serve --admin-listen 127.0.0.1:9081\nlabgate serve --config labgate.json --check-config",
			new:     func() runner { return &ServeCmd{} },
		},
		{
			name: "simulate", summary: "Connect simulated tensile testers.",
			details: fmt.Sprintf("Commands of a tester, for labgate send:\n  %s {\"speed_mm_min\": N}  pulls the specimen, at %g to %d mm/min\n  %s   stops the crosshead\n  %s  puts in a new specimen; needed after a stop or a fracture",
				tensile.CommandStart, tensile.MinSpeed, tensile.MaxSpeed, tensile.CommandStop, tensile.CommandReset),
			example: "labgate simulate --device tensile --devices 2\nlabgate send tensile-1 test.start '{\"speed_mm_min\": 100}'",
			new:     func() runner { return &SimulateCmd{} },
		},
		{
			name: "send", summary: "Send one command to a device and print its answer.",
			details: "Exit codes:\n  0  the device carried out the command\n  1  the command was not delivered, or no answer came; the error says which\n  2  the command line cannot be read\n  3  the device answered that it refused the command (\"ok\": false)",
			example: "labgate send tensile-1 test.start '{\"speed_mm_min\": 50}'\nlabgate send --urgent tensile-1 test.stop",
			new:     func() runner { return &SendCmd{} },
		},
		{
			name: "tail", summary: "Print messages and a summary of telemetry each second.",
			example: "labgate tail --device tensile-1\nlabgate tail --json --url wss://lab.example --token-file token",
			new:     func() runner { return &TailCmd{} },
		},
		{
			name: "bench", summary: "Put load on a gateway, verify every delivery and measure it.",
			details: scenarioHelp,
			example: "labgate bench fanout --frontends 100 --rate 500\nlabgate bench commands --json --label before >> before.json\nlabgate bench compare before.json after.json --fail-on-worse",
			new:     func() runner { return &BenchCmd{} },
		},
		{
			name: "token", summary: "Make a token, and its line for the gateway's token file.",
			details: "Without --append the line goes to standard output and the token to standard error. With --append the line goes to the end of a file and the token to standard output. Labgate does not store the token itself.",
			example: "labgate token --role device --name tensile-1 --append tokens\nlabgate token --role frontend --user ada --permissions observe,command --devices 'tensile-*' --append tokens",
			new:     func() runner { return &TokenCmd{} },
		},
		{
			name: "version", summary: "Print the version.",
			example: "labgate version",
			new:     func() runner { return &VersionCmd{} },
		},
		{
			name: "help", summary: "Explain a command and its options.",
			example: "labgate help serve",
			new:     func() runner { return &HelpCmd{} },
		},
	}
}

// commandNamed returns the command with a name, nil if there is none.
func commandNamed(name string) *commandSpec {
	for _, c := range commands() {
		if c.name == name {
			return c
		}
	}
	return nil
}

// unknownCommand returns an error that suggests the nearest command.
func unknownCommand(name string) error {
	all := commands()
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.name
	}
	if meant := option.Nearest(name, names); meant != "" {
		return fmt.Errorf("%q is not a command; did you mean %s?", name, meant)
	}
	return fmt.Errorf("%q is not a command; use one of %s", name, strings.Join(names, ", "))
}

// variable returns the environment variable of an option, "" if the option has
// none. A variable of serve is LABGATE_ and the option's name. A variable of
// another command has the command's name in between, because different commands
// have options of the same name. spec is nil for global options.
func variable(spec *commandSpec, o *option.Option) string {
	if o.Positional || onlyFlags[o.Name] {
		return ""
	}
	name := o.Name
	if spec != nil && spec.name != "serve" {
		name = spec.name + "-" + name
	}
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
