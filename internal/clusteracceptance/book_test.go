package clusteracceptance

import (
	"fmt"
	"slices"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
)

// book records which samples of a device were received or reported lost.
type book struct {
	first, next    uint64
	received, lost uint64
	causes         map[string]uint64
	// runs are ranges of consecutive samples, in the order of their arrival.
	runs []run
}

// run is samples [from, to): received, or reported lost with a cause.
type run struct {
	from, to uint64
	cause    string
}

// note records count samples within [from, to): received, or reported lost with a
// cause.
func (p *peer) note(stream uint32, from, to, count uint64, cause string) {
	id, known := p.streams[stream]
	if !known {
		id = fmt.Sprintf("stream %d", stream)
	}
	b := p.books[id]
	if b == nil {
		b = &book{first: from, next: from, causes: map[string]uint64{}}
		p.books[id] = b
	}
	if n := len(b.runs); n > 0 && b.runs[n-1].to == from && b.runs[n-1].cause == cause {
		b.runs[n-1].to = to
	} else {
		b.runs = append(b.runs, run{from, to, cause})
	}
	b.next = to
	if cause == "" {
		b.received += count
	} else {
		b.lost += count
		b.causes[cause] += count
	}
}

// book returns a copy of the book of a device.
func (p *peer) book(device string) book {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.books[device]; b != nil {
		copied := *b
		copied.runs = slices.Clone(b.runs)
		return copied
	}
	return book{}
}

// breaks returns where samples did not follow those before them.
func (b *book) breaks() (all []string) {
	for i, r := range b.runs {
		if i > 0 && r.from != b.runs[i-1].to {
			all = append(all, fmt.Sprintf("%v after %v", r, b.runs[i-1]))
		}
	}
	return all
}

// mustBalance waits until all samples of a device were received by a front end
// or reported to it as lost, and checks that they are consecutive.
func (p *peer) mustBalance(d *device) {
	p.t.Helper()
	end := time.Now().Add(gatewaytest.Patience)
	for p.book(d.id).next != d.sent() && time.Now().Before(end) {
		time.Sleep(10 * time.Millisecond)
	}
	k := p.book(d.id)
	if k.next != d.sent() || k.received+k.lost != d.sent()-k.first || len(k.breaks()) > 0 {
		p.t.Errorf("%s on node %s: up to %d of %d sent, from %d on %d received and %d lost; %v", d.id, p.welcome.Node, k.next, d.sent(), k.first, k.received, k.lost, k.breaks())
	}
}
