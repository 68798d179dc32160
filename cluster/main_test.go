package cluster

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds each wait of a test. It is generous because the machine may be
// busy.
const patience = 60 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
