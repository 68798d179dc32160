package cluster

import "fmt"

// Check connects to Redis once, as the bus does when it is joined, and returns
// why that fails: Redis does not answer, refuses the password, or does not allow
// what the bus needs. The other nodes notice nothing; a key of this node expires
// within the time to live. Check takes at most five timeouts, and is for a bus
// that has not been joined.
func (b *Bus) Check() error {
	rc, err := b.connect()
	if err != nil {
		return fmt.Errorf("cluster: Redis cannot be used: %w", err)
	}
	rc.fail(errLeft)
	rc.close()
	return nil
}
