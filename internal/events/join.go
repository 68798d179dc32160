package events

// Join returns a listener that passes each event to all the listeners, in this
// order. Nil listeners are left out; without any other Join returns nil, so that
// one comparison with nil tells whether anybody listens.
func Join(listeners ...Listener) Listener {
	var all joined
	for _, l := range listeners {
		switch l := l.(type) {
		case nil:
		case joined:
			all = append(all, l...)
		default:
			all = append(all, l)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return all
}

// OrNop returns l, or a listener that does nothing for nil.
func OrNop(l Listener) Listener {
	if l == nil {
		return Nop{}
	}
	return l
}

type joined []Listener

func (j joined) SessionBegan(e SessionBegan) {
	for _, l := range j {
		l.SessionBegan(e)
	}
}

func (j joined) SessionEnded(e SessionEnded) {
	for _, l := range j {
		l.SessionEnded(e)
	}
}

func (j joined) ConnectionRefused(e ConnectionRefused) {
	for _, l := range j {
		l.ConnectionRefused(e)
	}
}

func (j joined) HandshakeRefused(e HandshakeRefused) {
	for _, l := range j {
		l.HandshakeRefused(e)
	}
}

func (j joined) RequestRefused(e RequestRefused) {
	for _, l := range j {
		l.RequestRefused(e)
	}
}

func (j joined) CommandBegan(e Command) {
	for _, l := range j {
		l.CommandBegan(e)
	}
}

func (j joined) CommandEnded(e CommandEnded) {
	for _, l := range j {
		l.CommandEnded(e)
	}
}

func (j joined) FileRead(e FileRead) {
	for _, l := range j {
		l.FileRead(e)
	}
}
