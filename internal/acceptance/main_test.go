package acceptance

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	// Most parallel tests only wait.
	_ = flag.Set("test.parallel", "4")
	os.Exit(m.Run())
}
