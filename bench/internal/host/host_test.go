//go:build linux

package host

import (
	"os"
	"testing"
)

func TestFacts(t *testing.T) {
	f := Read()
	if f.CPUs < 1 || f.GOMAXPROCS < 1 || f.OS == "" || f.Arch == "" {
		t.Errorf("facts of this machine: %+v", f)
	}
	if f.OS == "linux" && (f.Kernel == "" || Processors() < f.CPUs) {
		t.Errorf("facts of this machine: %+v, %d processors", f, Processors())
	}
	const two = "processor\t: 0\nmodel name\t: X 1\n\nprocessor\t: 1\nmodel name\t: Y\n"
	if m, n := cpuModel(two), countProcessors(two); m != "X 1" || n != 2 {
		t.Errorf("model %q, %d processors; want X 1 and 2", m, n)
	}
	if m := cpuModel("Features : fp\n"); m != "" {
		t.Errorf("model %q of a processor without a name", m)
	}
}

func TestParseStatus(t *testing.T) {
	if rss, peak, err := parseStatus("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t    1024 kB\nThreads:\t3\n"); rss != 1024 || peak != 2048 || err != nil {
		t.Errorf("rss %d, peak %d, %v; want 1024 and 2048", rss, peak, err)
	}
	for _, status := range []string{"", "Name:\tx\nState:\tZ (zombie)\n", "VmRSS:\tmuch kB\n"} {
		if _, _, err := parseStatus(status); err == nil {
			t.Errorf("%q was taken", status)
		}
	}
}

func TestParseBusy(t *testing.T) {
	// 100 + 20 + 3 and 5 of steal: waiting, interrupts and guests do not count.
	if busy, err := parseBusy("cpu  100 20 3 4000 50000 600000 7000000 5 9 9\ncpu0 1"); err != nil || busy != 1.28 {
		t.Errorf("%v s, %v; want 1.28 s", busy, err)
	}
	for _, stat := range []string{"", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3", "cpu a 2 3 4 5 6 7 8"} {
		if _, err := parseBusy(stat); err == nil {
			t.Errorf("%q was taken", stat)
		}
	}
}

// TestThisProcess compares the readings of this process with each other.
func TestThisProcess(t *testing.T) {
	pid := os.Getpid()
	for own := OwnCPUTime(); OwnCPUTime() < own+0.02; {
		_ = make([]byte, 1<<10) // uses CPU time
	}
	before := OwnCPUTime()
	cpu, err := CPUTime(pid)
	after := OwnCPUTime()
	const rounding = 0.02 // getrusage scales its two parts
	if err != nil || cpu < before-rounding || cpu > after+rounding {
		t.Errorf("CPU time %v s, %v; want %v to %v s", cpu, err, before, after)
	}
	if busy, err := BusyCPUTime(); err != nil || busy <= 0 {
		t.Errorf("CPU time of all processes: %v s, %v", busy, err)
	}
	if rss, peak, err := Memory(pid); err != nil || rss == 0 || peak < rss {
		t.Errorf("resident %d KiB, peak %d KiB, %v", rss, peak, err)
	}
	for _, nobody := range []int{0, maxPID, 1 << 30} {
		if _, err := CPUTime(nobody); err == nil {
			t.Errorf("CPU time of process %d, which does not exist", nobody)
		}
		if _, _, err := Memory(nobody); err == nil {
			t.Errorf("memory of process %d, which does not exist", nobody)
		}
	}
}
