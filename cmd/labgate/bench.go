package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/labgate/labgate/bench"
)

// BenchCmd is `labgate bench`: it loads a gateway and checks every delivery,
// or compares two files of earlier reports. Values left at 0 take the
// scenario's default.
type BenchCmd struct {
	Scenario string   `arg:"" enum:"fanout,unicast,telemetry,commands,idle,storm,cluster,compare" help:"What to do: fanout (frames of a size from devices to every front end), unicast (text from each front end to its device), telemetry (devices at a sample rate to every front end), commands (round trips), idle (connections kept open), storm (connections dropped and made again at once), cluster (messages, telemetry and commands across two nodes, devices on --target, front ends on --frontend-target), compare (two files of --json reports, several runs of each case)."`
	Files    []string `arg:"" optional:"" type:"existingfile" help:"For compare: two files of reports, one JSON object a line. Reports belong together by their label or, without one, by their work; a verdict takes five of each case in each file."`

	FailOnWorse bool   `help:"compare: fail when a figure is worse, or when more runs failed."`
	Threshold   string `default:"5%" help:"compare: change of a median from which on --fail-on-worse counts it."`
	Markdown    bool   `help:"compare: print a Markdown table."`

	Target         string `default:"http://127.0.0.1:8080" help:"The gateway's address. Loopback only, unless --allow-remote."`
	FrontendTarget string `help:"Where front ends connect, if elsewhere: another node."`
	RedisAddr      string `help:"cluster: host:port of the nodes' Redis, to compare with what it passes on by itself." placeholder:"ADDR"`

	Devices     int     `help:"Devices (fanout, telemetry 1; commands, storm 10; cluster 20; unicast as many as front ends)."`
	Frontends   int     `help:"Front ends (fanout, unicast 200; telemetry, cluster 20; commands, storm 10)."`
	Connections int     `help:"Connections of idle (10000) and storm (5000)."`
	Rate        float64 `help:"fanout: frames/s of each device (250); telemetry: samples/s of each device (10000); unicast, commands, storm, cluster: messages/s in all (10000, 1000, 1000, 500; cluster looks for the highest rates by itself). With --saturate: the first rate tried (2000)."`
	Samples     int     `help:"Samples a frame (telemetry 10)."`
	Channels    int     `help:"Values a sample (1)."`
	Size        int     `help:"Bytes of a telemetry frame with its header (fanout 128) or of a text payload (128)."`

	CommandRate    float64       `help:"Commands/s besides fanout or telemetry."`
	CommandDevices int           `help:"Devices for these commands that send no telemetry (0: those that do get them)."`
	UrgentShare    float64       `help:"Part of the commands that is urgent, 0 to 1."`
	CommandTimeout time.Duration `help:"timeout_ms of commands (10s)."`

	Duration time.Duration `help:"Measured time (10s)."`
	Warmup   time.Duration `help:"Time before it, verified but not measured (500ms)."`
	Drain    time.Duration `help:"Longest wait without a delivery for what is under way at the end (2s)."`
	Timeout  time.Duration `help:"Limit of the whole run (duration and warm-up and 1m; 5m with --saturate)."`
	Tick     time.Duration `help:"Messages due within this time go out in one write per connection (100us; 500us with --saturate)."`

	ConnectRate        float64       `help:"Connections/s (0: as fast as --connect-concurrency lets)."`
	ConnectConcurrency int           `help:"Connections under way at once (64)."`
	ConnectTimeout     time.Duration `help:"Limit for one connection, up to gateway.welcome (10s)."`
	Sources            int           `help:"Local addresses to connect from in turn, 127.0.0.1 and on (8)."`

	Saturate     bool          `help:"fanout, unicast: find the highest rate with nothing lost and no growing backlog."`
	StepDuration time.Duration `help:"Measured time of each rate tried (2s)."`

	Bare string `placeholder:"KIND" help:"The target is no gateway but a server that only passes messages on, to compare with (bench/limit): relay (unicast, commands), echo (unicast) or idle (idle)."`

	AllowLoss   bool   `help:"Accept loss that gateway.lost reported exactly; without it any loss fails the run."`
	AllowRemote bool   `help:"Load a gateway that is not on this machine."`
	Role        string `help:"idle, storm: device or frontend (idle frontend, storm device)."`
	Drop        string `help:"storm: how connections end, reset or fin (reset)."`
	Prefix      string `help:"Start of device and user names (one of this run's own)."`

	ServerPID   int    `name:"server-pid" help:"The gateway's process, to report its CPU time and memory."`
	FrontendPID int    `name:"frontend-pid" help:"The process of the gateway at --frontend-target: its CPU time and memory are added."`
	AdminURL    string `name:"admin-url" help:"The gateway's admin listener, to report its goroutines."`

	DeviceToken   string `help:"Bearer token of devices."`
	FrontendToken string `help:"Bearer token of front ends."`

	Label string `help:"Name of the case in the report, by which compare puts reports together."`
	JSON  bool   `name:"json" help:"Print the report as one JSON object on one line instead of a table."`
}

// Run runs the scenario and prints its report. The error says what was lost,
// damaged, unanswered or closed that should not have been.
func (c *BenchCmd) Run(ctx context.Context, out *Streams) error {
	if c.Scenario == "compare" {
		return c.compare(out.Out)
	}
	if len(c.Files) > 0 {
		return fmt.Errorf("bench %s takes no files; they are for bench compare", c.Scenario)
	}
	o := c.options()
	if isTerminal(out.Err) {
		o.Progress = out.Err
	}
	report, err := bench.Run(ctx, o)
	if report == nil {
		return err
	}
	if c.JSON {
		if werr := json.NewEncoder(out.Out).Encode(report); werr != nil {
			return werr
		}
	} else if werr := report.WriteTable(out.Out); werr != nil {
		return werr
	}
	return err
}

func (c *BenchCmd) options() bench.Options {
	return bench.Options{
		Scenario: c.Scenario, Label: c.Label, Target: c.Target, FrontendTarget: c.FrontendTarget, Redis: c.RedisAddr,
		Devices: c.Devices, Frontends: c.Frontends, Connections: c.Connections,
		Rate: c.Rate, Samples: c.Samples, Channels: c.Channels, Size: c.Size,
		CommandRate: c.CommandRate, CommandDevices: c.CommandDevices, UrgentShare: c.UrgentShare, CommandTimeout: c.CommandTimeout,
		Duration: c.Duration, Warmup: c.Warmup, Drain: c.Drain, Timeout: c.Timeout, Tick: c.Tick,
		ConnectRate: c.ConnectRate, ConnectConcurrency: c.ConnectConcurrency, ConnectTimeout: c.ConnectTimeout,
		Sources: c.Sources, Saturate: c.Saturate, StepDuration: c.StepDuration,
		AllowLoss: c.AllowLoss, AllowRemote: c.AllowRemote, Role: c.Role, Drop: c.Drop, Prefix: c.Prefix, Bare: c.Bare,
		ServerPID: c.ServerPID, FrontendPID: c.FrontendPID, AdminURL: c.AdminURL, DeviceToken: c.DeviceToken, FrontendToken: c.FrontendToken,
	}
}

// compare sets two files of reports side by side.
func (c *BenchCmd) compare(out io.Writer) error {
	if len(c.Files) != 2 {
		return fmt.Errorf("bench compare takes two files of reports, got %d", len(c.Files))
	}
	threshold, err := bench.ParseThreshold(c.Threshold)
	if err != nil {
		return err
	}
	var files [2]*os.File
	for i, name := range c.Files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		files[i] = f
	}
	return bench.Compare(out, files[0], files[1], bench.CompareOptions{FailOnWorse: c.FailOnWorse, Threshold: threshold, Markdown: c.Markdown})
}

// isTerminal says whether w is a character device.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
