package client

// Stats are a client's counters since Dial.
type Stats struct {
	Connects        uint64 // connections made, the first one included
	Panics          uint64 // panics of callbacks
	BadMessages     uint64 // messages from the gateway that could not be read
	CommandsRefused uint64 // devices: not carried out because too many waited
	CommandsExpired uint64 // devices: not carried out because they had waited too long, or their connection was lost
	TextQueued      int    // bytes of text that wait to be sent
	TelemetryQueued int    // bytes of telemetry that wait to be sent
	DroppedFrames   uint64 // telemetry frames dropped because SendBuffer.Telemetry was used up
	DroppedSamples  uint64 // samples in them
}

// stats collects the counters; commands is nil for a front end.
func (l *link) stats(commands *commandRunner) Stats {
	s := Stats{
		Connects:    l.connects.Load(),
		Panics:      l.panics.Load(),
		BadMessages: l.badMessages.Load(),
	}
	if commands != nil {
		s.CommandsRefused = commands.refused.Load()
		s.CommandsExpired = commands.expired.Load()
	}
	q := l.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	s.TextQueued, s.TelemetryQueued = q.textBytes, q.telemetryBytes
	s.DroppedFrames, s.DroppedSamples = q.droppedFrames, q.droppedSamples
	return s
}
