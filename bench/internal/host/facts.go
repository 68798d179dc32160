// Package host reads the facts about the machine for benchmark reports, and the
// CPU time and memory of processes.
package host

import (
	"os"
	"runtime"
	"strings"
)

// Facts describes the machine of a report, seen by the process that writes it.
// An unknown text is empty.
type Facts struct {
	CPU        string `json:"cpu"`        // model name
	CPUs       int    `json:"cpus"`       // that this process may use
	GOMAXPROCS int    `json:"gomaxprocs"` // of this process
	Kernel     string `json:"kernel"`     // release
	OS         string `json:"os"`         // GOOS
	Arch       string `json:"arch"`       // GOARCH
	// Governor is the frequency scaling governor of processor 0. Virtual
	// machines have none.
	Governor string `json:"governor,omitempty"`
}

// Read returns the facts of this machine.
func Read() Facts {
	return Facts{
		CPU: cpuModel(readFile("/proc/cpuinfo")), CPUs: runtime.NumCPU(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		Kernel: strings.TrimSpace(readFile("/proc/sys/kernel/osrelease")), OS: runtime.GOOS, Arch: runtime.GOARCH,
		Governor: strings.TrimSpace(readFile("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
	}
}

// Processors is the number of processors that are online. Facts.CPUs is lower
// in a process that is pinned to some of them.
func Processors() int { return countProcessors(readFile("/proc/cpuinfo")) }

func cpuModel(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func countProcessors(cpuinfo string) (n int) {
	for line := range strings.Lines(cpuinfo) {
		if name, _, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "processor" {
			n++
		}
	}
	return n
}

func readFile(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}
