package router

import (
	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/protocol"
)

// event describes the command to a listener.
func (c *command) event() events.Command {
	return events.Command{
		Number: c.ordinal, ID: c.askedID, Type: c.kind, Device: c.device, Urgent: c.urgent,
		Asker: c.asker.identity(), Began: c.r.managerStart.Add(c.began),
	}
}

// tellEnd tells the listener how the command has ended. Only the goroutine
// that took the command from its table, or refused it, calls tellEnd.
func (c *command) tellEnd(outcome string) {
	if l := c.r.opts.Events; l != nil {
		l.CommandEnded(events.CommandEnded{Command: c.event(), Outcome: outcome, Duration: c.r.manager.Now() - c.began})
	}
}

// stringsOf returns a command's id and type as strings that share one
// allocation.
func stringsOf(id, kind []byte) (string, string) {
	var b [protocol.MaxIDLen + protocol.MaxTypeLen]byte
	both := string(append(append(b[:0], id...), kind...))
	return both[:len(id)], both[len(id):]
}
