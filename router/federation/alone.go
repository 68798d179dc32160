package federation

// Alone is the Bus of a node without others: there is nobody to tell, and a
// message finds no node. Its node id is 0, which no node on a bus has.
type Alone struct{}

var _ Bus = Alone{}

// Join implements Bus.
func (Alone) Join(Member) error { return nil }

// Self implements Bus.
func (Alone) Self() NodeID { return 0 }

// Up implements Bus: no node is out of reach.
func (Alone) Up() bool { return true }

// Stats implements Bus.
func (Alone) Stats() Stats { return Stats{} }

// Hold implements Bus.
func (Alone) Hold(Holding) {}

// Release implements Bus.
func (Alone) Release(Release) {}

// User implements Bus.
func (Alone) User(string, bool) {}

// Want implements Bus.
func (Alone) Want(string, bool) {}

// Send implements Bus: there is no such node.
func (Alone) Send(NodeID, *Message) error { return ErrNodeGone }

// SendAll implements Bus: all other nodes, of which there are none, have the
// message.
func (Alone) SendAll(*Message) error { return nil }

// SendTelemetry implements Bus.
func (Alone) SendTelemetry(*Batch) {}

// Leave implements Bus.
func (Alone) Leave() {}
