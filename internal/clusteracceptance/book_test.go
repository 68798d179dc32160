package clusteracceptance

import (
	"fmt"
	"slices"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
)

// book says what came of a device's samples, received or told lost.
type book struct {
	first, next    uint64
	received, lost uint64
	causes         map[string]uint64
	// runs are the samples that followed each other, in the order in which they
	// came.
	runs []run
}

// run is samples [from, to), reported lost for a cause, or received.
type run struct {
	from, to uint64
	cause    string
}

// note books samples [from, to): received, or lost for a cause.
func (p *peer) note(stream uint32, from, to uint64, cause string) {
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
		b.received += to - from
	} else {
		b.lost += to - from
		b.causes[cause] += to - from
	}
}

// book returns a copy of what came of a device's samples.
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

// mustBalance waits until a front end knows of all samples that a device has
// sent, and checks that they followed each other.
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
