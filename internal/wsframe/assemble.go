package wsframe

import "unicode/utf8"

// feedHeader reads a frame header, which may have begun in earlier input, and the
// payload if it is complete in data. It returns the rest of data.
func (r *Reader) feedHeader(data []byte, h Handler) (rest []byte, err error) {
	head, held := data, int(r.held)
	if held > 0 {
		n := copy(r.heldHead[held:], data)
		head = r.heldHead[:held+n]
	}
	hd, err := r.parseHeader(head)
	if err != nil {
		return data, err
	}
	if hd.size == 0 {
		// The header is incomplete, so head holds all of data.
		r.held = uint8(copy(r.heldHead[:], head))
		return nil, nil
	}
	r.held = 0
	data = data[hd.size-held:]
	r.op, r.fin, r.key, r.left = hd.op, hd.fin, hd.key, uint32(hd.length)
	if hd.length > len(data) {
		r.stage = inPayload
		return data, nil
	}
	payload := data[:hd.length:hd.length]
	r.left = 0
	if !r.client {
		maskWords(payload, r.key)
	}
	return data[hd.length:], r.wholeFrame(payload, h)
}

// wholeFrame handles a frame whose unmasked payload was complete in the input.
func (r *Reader) wholeFrame(payload []byte, h Handler) error {
	if r.op.IsControl() {
		return r.deliverControl(payload, h)
	}
	if r.fin && r.kept == 0 {
		op := r.messageOp()
		// 8.1: text is UTF-8.
		if op == OpText && !utf8.Valid(payload) {
			return errTextNotUTF8
		}
		r.message, r.empty = 0, 0
		return h.HandleMessage(op, payload)
	}
	if len(payload) == 0 {
		r.empty++
	}
	r.store(payload, len(payload))
	return r.endFrame(h)
}

// feedPayload stores more of the payload of an unfinished frame.
func (r *Reader) feedPayload(data []byte, h Handler) (rest []byte, err error) {
	n := min(int(r.left), len(data))
	piece := data[:n]
	if !r.client {
		r.key = maskWords(piece, r.key)
	}
	r.store(piece, int(r.left))
	r.left -= uint32(n)
	if r.left == 0 {
		r.stage = inHeader
		return data[n:], r.endFrame(h)
	}
	return nil, r.checkStored()
}

// store keeps a piece of the current frame. left is the number of bytes that the
// frame still lacks, this piece included.
func (r *Reader) store(piece []byte, left int) {
	if len(piece) == 0 {
		return
	}
	have := 0
	if r.partial != nil {
		have = len(r.partial.data)
	}
	r.partial = growBuffer(r.partial, len(piece), have+left, r.fin && !r.op.IsControl())
	r.partial.data = append(r.partial.data, piece...)
}

// checkStored fails text as soon as it cannot become valid UTF-8 any more, before
// the end of the frame or message (RFC 6455, 8.1).
func (r *Reader) checkStored() error {
	if r.op.IsControl() || r.messageOp() != OpText || r.partial == nil {
		return nil
	}
	n, ok := checkText(r.partial.data[r.checked:])
	if !ok {
		return errTextNotUTF8
	}
	r.checked += uint32(n)
	return nil
}

// endFrame handles the end of a frame that was stored in pieces.
func (r *Reader) endFrame(h Handler) error {
	if r.op.IsControl() {
		return r.endStoredControl(h)
	}
	if err := r.checkStored(); err != nil {
		return err
	}
	op := r.messageOp()
	b := r.partial
	if !r.fin {
		r.message = op
		if b != nil {
			r.kept = uint32(len(b.data))
		}
		return nil
	}
	// 8.1: the message must not end within a character.
	if op == OpText && int(r.checked) != len(b.data) {
		return errTextNotUTF8
	}
	// r must not hold the buffer during the call: a Release in the Handler would
	// give it to another connection.
	r.partial, r.kept, r.checked, r.message, r.empty = nil, 0, 0, 0, 0
	err := h.HandleMessage(op, b.data)
	putBuffer(b)
	return err
}

// endStoredControl delivers a control frame that was stored behind the fragments of
// the message in progress.
func (r *Reader) endStoredControl(h Handler) error {
	b := r.partial
	r.partial = nil // as in endFrame
	err := r.deliverControl(b.data[r.kept:], h)
	if err != nil || r.stage == ended || r.kept == 0 {
		putBuffer(b)
		return err
	}
	b.data = b.data[:r.kept]
	r.partial = b
	return nil
}

// deliverControl passes a complete control frame to h.
func (r *Reader) deliverControl(payload []byte, h Handler) error {
	if r.op != OpClose {
		return h.HandleControl(r.op, payload)
	}
	// 7.1.1: the peer has closed, also if its close frame is invalid.
	r.closed = true
	if err := checkClose(payload); err != nil {
		return err
	}
	// 1.4 and 5.5.1: nothing may follow a close frame.
	r.Release()
	return h.HandleControl(OpClose, payload)
}

// messageOp returns the opcode of the message that the current data frame belongs
// to.
func (r *Reader) messageOp() Opcode {
	if r.op == OpContinuation {
		return r.message
	}
	return r.op
}
