//go:build !linux

package host

import "errors"

// CPUTime fails: only Linux has a clock for the CPU time of another process.
func CPUTime(int) (float64, error) { return 0, errors.ErrUnsupported }
