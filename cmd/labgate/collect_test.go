package main

import (
	"os"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

func TestGrowthFor(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 400}, {1, 400}, {2 << 20, 400}, {4 << 20, 200}, {5 << 20, 150}, {8 << 20, 100}, {16 << 20, 50}, {100 << 20, 50}, {1 << 40, 50},
	} {
		if p := growthFor(c.live); p != c.want {
			t.Errorf("%d bytes: %d %%, want %d", c.live, p, c.want)
		}
	}
}

func TestCollectEarly(t *testing.T) {
	if os.Getenv("GOGC") != "" {
		t.Fatal("GOGC is set; run the tests without it")
	}
	before := percent()
	stop := collectEarly(false)
	if p := percent(); p != growth {
		t.Errorf("alone: %d %%, want %d", p, growth)
	}
	stop()
	if p := percent(); p != before {
		t.Errorf("stopped: %d %%, want %d as before", p, before)
	}
}

// With other nodes the target follows the heap in use, up and down, until stop
// is called.
func TestCollectWithOtherNodes(t *testing.T) {
	before := percent()
	stop := collectEarly(true)
	defer stop()
	func() {
		large := make([]byte, 64<<20)
		await(t, growth)
		runtime.KeepAlive(large)
	}()
	for range 100 {
		if runtime.GC(); percent() > growth {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if p := percent(); p <= growth {
		t.Errorf("little in use: %d %%, want more than %d", p, growth)
	}
	stop()
	runtime.GC()
	runtime.GC()
	await(t, before)
}

// await collects until the target is that many percent.
func await(t *testing.T, want int) {
	t.Helper()
	for range 100 {
		if runtime.GC(); percent() == want {
			return
		}
		time.Sleep(10 * time.Millisecond) // the clean-up has a goroutine of its own
	}
	t.Errorf("%d %%, want %d", percent(), want)
}

// percent is the target that is set.
func percent() int {
	gogc := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(gogc)
	return int(gogc[0].Value.Uint64())
}
