package protocol

import "slices"

// Splice has the fields that the gateway writes into a message that it forwards. The
// values go into the JSON text as they are: Src must be a valid name or begin with @, ID and Re
// an Envelope's ID or Re, or made of name characters.
type Splice struct {
	Src string // the true sender, always written
	ID  string // "" leaves the id as it is
	Re  string // "" leaves the re as it is
}

// SplicedSize returns the exact number of bytes that AppendSpliced adds.
func (e *Envelope) SplicedSize(s Splice) int {
	if e.raw == nil {
		return 0
	}
	n := len(srcOpen) + len(s.Src) + 1 + 1 + len(e.raw) - e.body
	if s.ID != "" && e.ID == nil && !e.edited(fieldID) {
		n += len(idOpen) + len(s.ID) + 1
	}
	if s.Re != "" && e.Re == nil && !e.edited(fieldRe) {
		n += len(reOpen) + len(s.Re) + 1
	}
	for i := range e.edits[:e.n] {
		ed := &e.edits[i]
		if text, replace := s.text(ed.field); replace {
			n += len(text) - (ed.to - ed.from)
			if ed.null {
				n += len(`""`)
			}
		}
	}
	return n
}

// AppendSpliced appends the message with the fields of s to dst: `{"src":"X",`, then
// the bytes of the original without its src. id and re are replaced in place, or
// follow src if the original has none. Everything else is copied byte for byte. The
// text given to Parse must be unchanged. AppendSpliced appends nothing if Parse has
// failed, and does not allocate if dst has room.
func (e *Envelope) AppendSpliced(dst []byte, s Splice) []byte {
	if e.raw == nil {
		return dst
	}
	dst = slices.Grow(dst, e.SplicedSize(s))
	dst = append(append(append(dst, srcOpen...), s.Src...), '"')
	if s.ID != "" && e.ID == nil && !e.edited(fieldID) {
		dst = append(append(append(dst, idOpen...), s.ID...), '"')
	}
	if s.Re != "" && e.Re == nil && !e.edited(fieldRe) {
		dst = append(append(append(dst, reOpen...), s.Re...), '"')
	}
	dst = append(dst, ',') // type follows at least
	done := e.body
	for i := range e.edits[:e.n] {
		ed := &e.edits[i]
		if text, replace := s.text(ed.field); replace {
			dst = append(dst, e.raw[done:ed.from]...)
			if ed.null {
				dst = append(append(append(dst, '"'), text...), '"')
			} else {
				dst = append(dst, text...)
			}
			done = ed.to
		}
	}
	return append(dst, e.raw[done:]...)
}

const (
	srcOpen = `{"src":"`
	idOpen  = `,"id":"`
	reOpen  = `,"re":"`
)

// edited reports whether the original has the field, also if its value is null.
func (e *Envelope) edited(f field) bool {
	for i := range e.edits[:e.n] {
		if e.edits[i].field == f {
			return true
		}
	}
	return false
}

// text returns what replaces the field in an edit, and whether the edit applies.
func (s *Splice) text(f field) (string, bool) {
	switch f {
	case fieldID:
		return s.ID, s.ID != ""
	case fieldRe:
		return s.Re, s.Re != ""
	}
	return "", true // the sender's src is removed; the true one is in front
}
