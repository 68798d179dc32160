//go:build linux

package main

import (
	"fmt"

	"github.com/labgate/labgate/bench/peers/load"
)

// Record is one case of one target in one round: a line of the result.
type Record struct {
	Type   string `json:"type"` // "measurement"
	Round  int    `json:"round"`
	At     string `json:"at"` // when it began, RFC 3339
	Target string `json:"target"`
	Case   string `json:"case"`
	Error  string `json:"error,omitempty"` // then there is no figure

	// Outcome is the light load's step, or the step at the highest rate.
	Outcome *load.Outcome `json:"outcome,omitempty"`
	// LoadLimited says of a saturation that the load program, not the server,
	// ended the search: the rate is a lower bound.
	LoadLimited bool         `json:"load_limited,omitempty"`
	Tries       []Try        `json:"tries,omitempty"` // of a search, in their order
	Idle        *IdleResult  `json:"idle,omitempty"`
	Limit       *LimitResult `json:"limit,omitempty"`
}

// Try is one rate of a search.
type Try struct {
	Rate      float64 `json:"rate"`
	Clean     bool    `json:"clean"`
	Why       string  `json:"why,omitempty"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"deliveries_per_s"`
	CPUShare  float64 `json:"server_cpu_share"`
	LoadShare float64 `json:"load_cpu_share"`
	Foreign   float64 `json:"foreign_cpu_share"`
}

func newTry(o *load.Outcome) Try {
	return Try{Rate: o.Rate, Clean: o.Clean, Why: o.Why, Seconds: o.Seconds, PerSecond: o.PerSecond, CPUShare: o.CPUShare, LoadShare: o.LoadShare, Foreign: o.Foreign}
}

// String is for the progress.
func (t Try) String() string {
	verdict := "clean"
	if !t.Clean {
		verdict = t.Why
	}
	return fmt.Sprintf("%9.0f deliveries/s, server %3.0f %%, load %3.0f %%, others %3.0f %%: %s", t.PerSecond, t.CPUShare*100, t.LoadShare*100, t.Foreign*100, verdict)
}

// IdleResult is what connections cost that are only there.
type IdleResult struct {
	Connections  int     `json:"connections"`
	OpenSeconds  float64 `json:"open_s"` // until the last one was ready
	RSSBeforeKiB int64   `json:"rss_before_kib"`
	RSSKiB       int64   `json:"rss_kib"`
	PerConnKiB   float64 `json:"rss_per_connection_kib"`
}

// LimitResult is what matters here of the report of bench/limit.
type LimitResult struct {
	Receivers int     `json:"receivers"`
	PerSecond float64 `json:"deliveries_per_s"`
	CPUPerOne float64 `json:"cpu_us_per_delivery"`
	CPUShare  float64 `json:"cpu_share"`
	Verified  bool    `json:"verified"`
}
