//go:build linux

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/bench/peers/load"
	"github.com/labgate/labgate/bench/peers/target"
)

func outcome(perSecond, cpu float64) *load.Outcome {
	return &load.Outcome{Clean: true, Foreign: cpu + 0.1, PerSecond: perSecond, CPUPerM: cpu, P50: 1000, P99: 2000}
}

var someRecords = []*Record{
	{Round: 1, Target: "labgate", Case: caseFanOut, Outcome: outcome(6e6, 0.1)},
	{Round: 1, Target: "nats", Case: caseFanOut, Outcome: outcome(2e6, 0.4), LoadLimited: true},
	{Round: 1, Target: "melody", Case: caseFanOut, Error: "melody broke"},
	{Round: 1, Target: "plain sockets", Case: caseLimit, Limit: &LimitResult{PerSecond: 30e6, CPUPerOne: 0.05}},
	{Round: 1, Target: "labgate", Case: caseIdle, Idle: &IdleResult{PerConnKiB: 2, OpenSeconds: 1}},
	{Round: 1, Target: "nats", Case: caseIdle, Idle: &IdleResult{PerConnKiB: 40, OpenSeconds: 2}},
	{Round: 2, Target: "nats", Case: caseFanOut, Outcome: outcome(3e6, 0.2), LoadLimited: true},
	{Round: 2, Target: "labgate", Case: caseFanOut, Outcome: outcome(4e6, 0.3)},
	{Round: 3, Target: "labgate", Case: caseFanOut, Outcome: outcome(9e6, 0.2)},
}

func TestSummarize(t *testing.T) {
	all := summarize(someRecords)
	for _, c := range []struct {
		target, name, metric string
		median, ratio        float64
		rounds               int
		limited              bool
	}{
		{"labgate", caseFanOut, "deliveries", 6e6, 0, 3, false},
		{"labgate", caseFanOut, "server CPU", 0.2, 0, 3, false},
		{"nats", caseFanOut, "deliveries", 2.5e6, 2.4, 2, true},
		{"nats", caseIdle, "memory", 40, 0.05, 1, false},
		{"plain sockets", caseLimit, "deliveries", 30e6, 0, 1, false},
	} {
		s := find(all, c.target, c.name, c.metric)
		if s == nil || s.Median != c.median || s.Ratio != c.ratio || s.Rounds != c.rounds || s.LoadLimited != c.limited {
			t.Errorf("%s, %s, %s: %+v", c.target, c.name, c.metric, s)
		}
	}
	if s := find(all, "melody", caseFanOut, "deliveries"); s != nil {
		t.Errorf("a failed measurement counts: %+v", s)
	}
}

func TestMarkdown(t *testing.T) {
	h := &Head{Date: "2026-01-02", Rounds: 3, Receivers: 200, Connections: 10000, Targets: []HeadTarget{
		{Name: "labgate", Kind: string(target.Product), Version: "v1"},
		{Name: "nats", Kind: string(target.Peer), Version: "v2", Settings: "websocket", Work: "subjects"},
	}}
	text := markdown(h, summarize(someRecords), someRecords, time.Minute)
	for _, want := range []string{
		"| labgate | 6.00 M (4.00 M–9.00 M) |  | 0.200 (0.100–0.300) |  |\n",
		"| nats | ≥ 2.50 M (2.00 M–3.00 M) | **2.40** | 0.300 (0.200–0.400) | **0.67** |\n",
		"| plain sockets | 30.00 M | 0.20 | 0.050 | 4.00 |\n",
		"| nats | 40.0 | **0.05** | 2.00 | **0.50** |\n",
		"| fan-out saturation: deliveries, /s | 6.00 M | 2.50 M | nats | **2.40** |\n",
		"| nats | v2 | websocket | subjects |\n",
		"Others on the machine took up to 50 % of a core",
		"- round 1: melody broke\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"--quick", "--targets", "nats,nbio relay", "--cases", "idle"}, &strings.Builder{})
	if err != nil || o.Rounds != 1 || len(o.Targets) != 2 || len(o.Cases) != 1 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range []string{"--rounds 0", "--targets unknown", "--targets nats,unknown", "--cases x", "--date yesterday", "--seconds 0.01", "--seconds 90", "--precision 1", "--unicast-tick -1ms", "--receivers 0", "extra", "--nonsense"} {
		if _, err := parseOptions(strings.Fields(bad), &strings.Builder{}); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}
