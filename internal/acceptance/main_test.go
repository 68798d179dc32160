package acceptance

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	// Most of the parallel tests wait for time to pass.
	_ = flag.Set("test.parallel", "4")
	os.Exit(m.Run())
}
