package cluster

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestEachKindOfFailureIsLogged(t *testing.T) {
	var f failures
	at := int64(0)
	logged := func(after time.Duration, text string) bool {
		at += after.Microseconds()
		_, ok := f.worthLogging(errors.New(text), at)
		return ok
	}
	for i, step := range []struct {
		after time.Duration
		text  string
		want  bool
	}{
		{0, "EOF", true},
		{time.Second, "read 127.0.0.1:40001: connection refused", true},
		{time.Second, "read 127.0.0.1:40007: connection refused", false},
		{time.Second, "EOF", false},
		{time.Second, "WRONGPASS invalid username-password pair", true},
		{time.Minute, "WRONGPASS invalid username-password pair", true},
		{59 * time.Second, "WRONGPASS invalid username-password pair", false},
		{time.Second, "EOF", true},
	} {
		if got := logged(step.after, step.text); got != step.want {
			t.Errorf("step %d, %q: logged %t", i, step.text, got)
		}
	}
	if f.attempts != 8 {
		t.Errorf("%d attempts", f.attempts)
	}
	lines := 0
	for i := range 100 {
		if logged(0, fmt.Sprintf("error %c%c", 'a'+i/10, 'a'+i%10)) {
			lines++
		}
	}
	if lines != maxFailureKinds-3 {
		t.Errorf("%d lines of errors that are all different", lines)
	}
}
