package federation

// Alone is the Bus of a single node, without other nodes. Its node id is 0; no
// node on another Bus has that id.
type Alone struct{}

var _ Bus = Alone{}

// Join implements Bus.
func (Alone) Join(Member) error { return nil }

// Self implements Bus.
func (Alone) Self() NodeID { return 0 }

// Up implements Bus: no other node can be out of reach.
func (Alone) Up() bool { return true }

// Stats implements Bus.
func (Alone) Stats() Stats { return Stats{} }

// Hold implements Bus.
func (Alone) Hold(Holding) {}

// Release implements Bus.
func (Alone) Release(Release) {}

// User implements Bus.
func (Alone) User(string, bool) {}

// UpdateInterest implements Bus.
func (Alone) UpdateInterest(string, bool) {}

// Send implements Bus: no other node exists.
func (Alone) Send(NodeID, *Message) error { return ErrNodeGone }

// SendAll implements Bus: no other node exists that could miss the message.
func (Alone) SendAll(*Message) error { return nil }

// SendTelemetry implements Bus.
func (Alone) SendTelemetry(*Batch) {}

// Leave implements Bus.
func (Alone) Leave() {}
