package clusteracceptance

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	// Most tests wait for Redis or for time to pass.
	_ = flag.Set("test.parallel", "4")
	os.Exit(m.Run())
}
