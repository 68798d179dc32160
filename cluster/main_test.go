package cluster

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds each wait of a test. It is generous because the machine may be
// busy.
const patience = 60 * time.Second

// TestMain finds goroutines that were left behind. The client of a Redis Cluster
// leaves some that sleep before they find out that it has been closed: for up to
// a second before they look at the cluster again, and for five before they close
// connections that are not needed any longer.
func TestMain(m *testing.M) {
	// Tests wait for Redis, or for time to pass, most of the time.
	_ = flag.Set("test.parallel", "10")
	goleak.VerifyTestMain(m, append(closing, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))...)
}

// closing are the goroutines that close connections after five seconds.
var closing = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"),
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient).redirectOrNew.func1"),
}
