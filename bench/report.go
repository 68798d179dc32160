package bench

import (
	"runtime"
	"runtime/debug"
	"time"

	"github.com/labgate/labgate/bench/internal/host"
)

// Report is the outcome of one run; as JSON, one object.
type Report struct {
	Label     string    `json:"label,omitempty"` // the caller's name of the case
	Scenario  string    `json:"scenario"`
	Time      time.Time `json:"time"`
	OK        bool      `json:"ok"`
	Problems  []Problem `json:"problems,omitempty"`
	Options   Options   `json:"options"`
	Results   Results   `json:"results"`
	Host      Host      `json:"host"`
	GoVersion string    `json:"go_version"` // of the load generator
	Commit    string    `json:"commit,omitempty"`
}

// Results holds the measurements of the scenario; other fields are absent.
type Results struct {
	Connects *Connects `json:"connects,omitempty"`
	// Seconds is the measured part: rates and CPU are over it. Counts are of
	// the whole run, warm-up included.
	Seconds    float64         `json:"seconds,omitempty"`
	Telemetry  *DeliveryResult `json:"telemetry,omitempty"`
	Unicast    *DeliveryResult `json:"unicast,omitempty"`
	Commands   *CommandResult  `json:"commands,omitempty"`
	Saturation *Saturation     `json:"saturation,omitempty"` // the other fields are then those of the best step
	Idle       *IdleResult     `json:"idle,omitempty"`
	Storm      *StormResult    `json:"storm,omitempty"`
	Cluster    *ClusterResult  `json:"cluster,omitempty"`
	Server     *ServerResult   `json:"server,omitempty"`
	Load       *LoadResult     `json:"load,omitempty"`
}

// DeliveryResult is the account of telemetry, in samples, or of unicast, in
// messages. Expected = Received + LostReported + Missing always holds; in
// a good run the fields from LostReported on are zero.
type DeliveryResult struct {
	FramesSent   uint64   `json:"frames_sent"`   // by devices, or messages by front ends
	FramesUnsent uint64   `json:"frames_unsent"` // due but not written by the end
	UnitsSent    uint64   `json:"units_sent"`    // samples, or messages
	Expected     uint64   `json:"expected"`      // units sent × receivers
	Received     uint64   `json:"received"`      // units, each once
	Frames       uint64   `json:"frames_received"`
	LostReported uint64   `json:"lost_reported"` // by gateway.lost
	Missing      uint64   `json:"missing"`       // lost without a report
	Duplicates   uint64   `json:"duplicates"`
	Disorder     uint64   `json:"disorder"`
	FalseLost    uint64   `json:"false_lost"` // reported as lost, but received
	Corrupt      int64    `json:"corrupt"`
	Foreign      int64    `json:"foreign"`          // frames of other runs' devices; no fault
	PerSecond    float64  `json:"deliveries_per_s"` // frames or messages
	UnitsPerS    float64  `json:"units_per_s"`
	Drained      float64  `json:"drained_ms"` // from the last due message to the last delivery
	Latency      *Latency `json:"latency,omitempty"`
	SendLag      *Latency `json:"send_lag,omitempty"` // part of Latency: from due to written
}

// CommandResult is the account of commands and their answers.
type CommandResult struct {
	Sent       uint64   `json:"sent"`
	Delivered  uint64   `json:"delivered"` // at the device
	Answered   uint64   `json:"answered"`  // at the front end
	Refused    uint64   `json:"refused"`   // gateway.error instead
	Unanswered uint64   `json:"unanswered"`
	Duplicates uint64   `json:"duplicates"`
	Disorder   uint64   `json:"disorder"`
	PerSecond  float64  `json:"answers_per_s"`
	Latency    *Latency `json:"latency,omitempty"` // round trip, plain commands
	Urgent     *Latency `json:"urgent_latency,omitempty"`
	SendLag    *Latency `json:"send_lag,omitempty"`
}

// ServerResult is the gateway's CPU time and memory, and its goroutines according
// to the admin listener.
type ServerResult struct {
	CPUSeconds       float64 `json:"cpu_s"`              // in the measured part
	CPUShare         float64 `json:"cpu_share"`          // 1: one core
	CPUPerDelivery   float64 `json:"cpu_us_per_message"` // per delivered frame or message
	RSSBeforeKiB     int64   `json:"rss_before_kib"`     // before the first connection
	RSSKiB           int64   `json:"rss_kib"`            // at the end of the measured part
	PeakRSSKiB       int64   `json:"peak_rss_kib"`       // since the process began
	GoroutinesBefore int64   `json:"goroutines_before,omitempty"`
	Goroutines       int64   `json:"goroutines,omitempty"`
}

// LoadResult is the load generator's own CPU time in the measured part.
type LoadResult struct {
	CPUSeconds float64 `json:"cpu_s"`
	CPUShare   float64 `json:"cpu_share"` // near 1 the load generator is the limit
	PerMessage float64 `json:"cpu_us_per_message"`
	BytesPerS  float64 `json:"bytes_received_per_s"`
	// Late is the time from when a message was due to the tick that handed it
	// to its sender. Every latency includes it, and the gateway has no part in it.
	Late *Latency `json:"late,omitempty"`
}

// Host is the machine on which the load generator ran.
type Host = host.Facts

// Error is the result of a run that finished and failed its checks.
type Error struct{ Problems []Problem }

func (e *Error) Error() string {
	msg := "bench: checks failed"
	for i, p := range e.Problems {
		if i == 0 {
			msg += ": "
		} else {
			msg += "; "
		}
		msg += p.String()
	}
	return msg
}

// newReport fills in the fields that do not depend on the scenario.
func newReport(o *Options) *Report {
	return &Report{
		Label: o.Label, Scenario: o.Scenario, Time: time.Now().UTC().Truncate(time.Second), Options: *o,
		Host: host.Read(), GoVersion: runtime.Version(), Commit: commit(),
	}
}

// commit is the revision this program was built from.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return host.Revision(info)
}
