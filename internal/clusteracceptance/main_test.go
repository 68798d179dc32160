package clusteracceptance

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	// Most tests only wait, for Redis or for time.
	_ = flag.Set("test.parallel", "4")
	os.Exit(m.Run())
}
