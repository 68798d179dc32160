package session

import "time"

// HealthState names a range of the health score.
type HealthState string

const (
	// Healthy: score 70 to 100.
	Healthy HealthState = "healthy"
	// Degraded: score 30 to 69.
	Degraded HealthState = "degraded"
	// Unresponsive: score 0 to 29.
	Unresponsive HealthState = "unresponsive"
)

// Health is a session's health score with the values behind it.
type Health struct {
	// Score is 0 (dead) to 100 (healthy).
	Score int         `json:"score"`
	State HealthState `json:"state"`
	// RTTMicros is the last round-trip time in microseconds, 0 before the
	// first pong.
	RTTMicros int64 `json:"rtt_us"`
	// SinceHeardMillis is the time since the last bytes arrived, in milliseconds.
	SinceHeardMillis int64 `json:"since_heard_ms"`
	UnansweredPings  int   `json:"unanswered_pings"`
	// OutboxFill says how full the outbox is, 0 to 1: the text queues or the
	// telemetry queue, whichever is fuller.
	OutboxFill float64 `json:"outbox_fill"`
	// LostSamples and BadMessages count from the session's start.
	LostSamples uint64 `json:"lost_samples"`
	BadMessages uint32 `json:"bad_messages"`
}

// Health returns the session's present health.
func (s *Session) Health() Health {
	h := s.measureHealth(s.m.now())
	h.Score = max(h.Score-int(s.recentPenalty.Load()), 0)
	h.State = stateOf(h.Score)
	return h
}

func (s *Session) measureHealth(now int64) Health {
	h := Health{
		RTTMicros:        s.rtt.Load() / int64(time.Microsecond),
		SinceHeardMillis: (now - s.lastHeard.Load()) / int64(time.Millisecond),
		UnansweredPings:  int(s.unanswered.Load()),
		OutboxFill:       s.out.fill(s.controlLimit(), s.m.opts.TelemetryBytes),
		LostSamples:      s.lostSamples.Load(),
		BadMessages:      s.badMessages.Load(),
	}
	penalty := 0.0
	// Round trips above 50 ms lower the score, up to one second.
	penalty += 20 * ramp(float64(h.RTTMicros), 50e3, 1e6)
	penalty += 50 * ramp(float64(now-s.lastHeard.Load()), float64(s.m.opts.HeartbeatInterval), float64(s.m.opts.HeartbeatTimeout))
	// One unanswered ping is normal.
	penalty += 40 * ramp(float64(h.UnansweredPings), 1, 3)
	penalty += 20 * ramp(h.OutboxFill, 0.5, 1)
	h.Score = max(100-int(penalty), 0)
	h.State = stateOf(h.Score)
	return h
}

// updateHealth computes the score and logs a change of state. Expire calls
// updateHealth each time that the session's timer fires.
func (s *Session) updateHealth(now int64) {
	h := s.measureHealth(now)
	recent := min(10, h.BadMessages-s.badAtCheck.Load())
	if h.LostSamples > s.lostAtCheck {
		recent += 20
	}
	s.recentPenalty.Store(recent)
	h.Score -= int(recent)
	s.lostAtCheck = h.LostSamples
	s.badAtCheck.Store(h.BadMessages)
	h.Score = max(h.Score, 0)
	before := stateOf(int(s.health.Swap(uint32(h.Score))))
	after := stateOf(h.Score)
	if before == after {
		return
	}
	s.m.opts.Logger.Info().Stringer("session", s.id).Stringer("role", s.info.Role).Str("name", s.info.Name).
		Str("before", string(before)).Str("after", string(after)).Int("score", h.Score).
		Int64("rtt_us", h.RTTMicros).Int64("since_heard_ms", h.SinceHeardMillis).Int("unanswered_pings", h.UnansweredPings).
		Float64("outbox_fill", h.OutboxFill).Uint64("lost_samples", h.LostSamples).Uint32("bad_messages", h.BadMessages).
		Msg("session health changed")
}

// ramp rises from 0 at low to 1 at high.
func ramp(x, low, high float64) float64 {
	if high <= low {
		return 0
	}
	return min(max((x-low)/(high-low), 0), 1)
}

func stateOf(score int) HealthState {
	switch {
	case score >= 70:
		return Healthy
	case score >= 30:
		return Degraded
	default:
		return Unresponsive
	}
}
