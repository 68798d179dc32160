package router

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/labgate/labgate/internal/describe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/protocol/description"
)

// This file finds the text of a device's description, here or on another node.

// askDescription asks another node for the description of a device. The answer is
// the time at which the device last connected there, 8 bytes in big-endian order,
// in microseconds since 1970, and the text.
const askDescription = "description"

// Description returns the text of a device's description and its version. The node
// that holds the device is asked for the text, or all nodes when the device is
// offline; Description waits 2 s at most. The error is a *protocol.Error: not_found
// without a description, unavailable when the device's node does not answer.
func (r *Router) Description(ctx context.Context, id string) (text []byte, version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	here, elsewhere := r.registry.findDescription(id)
	switch {
	case here != nil:
		return here.Text, here.Version, nil
	case elsewhere == "":
		return nil, "", noDescription(id)
	}
	if node, held := r.peers.holder([]byte(id)); held {
		answer, err := r.Ask(ctx, node, askDescription, id)
		if err != nil {
			return nil, "", err
		}
		if len(answer) <= 8 {
			return nil, "", noDescription(id)
		}
		return answer[8:], description.Version(answer[8:]), nil
	}
	answers, _ := r.AskAll(ctx, askDescription, id)
	var newest []byte
	for _, answer := range answers {
		if len(answer.Text) > 8 && (newest == nil || bytes.Compare(answer.Text[:8], newest[:8]) > 0) {
			newest = answer.Text
		}
	}
	if newest == nil {
		return nil, "", noDescription(id)
	}
	return newest[8:], description.Version(newest[8:]), nil
}

func noDescription(id string) error {
	return protocol.NewError(protocol.ErrNotFound, "device "+id+" has no description; the device may send one with gateway.describe, or a file of --descriptions may have one")
}

// unknownVersion stands for the version of a description that another node may
// have.
const unknownVersion = "?"

// findDescription returns the description here, or the version that another node
// has, "" for none.
func (g *registry) findDescription(id string) (here *describe.Described, elsewhere string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.devices[id]
	switch {
	case d != nil && d.session != nil:
		return d.described.Load(), ""
	case d != nil && d.holder.remote != nil:
		return nil, d.holder.remote.Description
	case d != nil && d.described.Load() != nil:
		return d.described.Load(), ""
	case g.bus.Self() == 0:
		return nil, ""
	}
	return nil, unknownVersion
}

// answerDescription answers askDescription; nil when the description is not here.
func (g *registry) answerDescription(id string) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.devices[id]
	if d == nil || d.described.Load() == nil {
		return nil
	}
	answer := binary.BigEndian.AppendUint64(nil, uint64(d.prepared.UnixMicro()))
	return append(answer, d.described.Load().Text...)
}
