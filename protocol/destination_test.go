package protocol

import (
	"errors"
	"strings"
	"testing"
)

func TestValidName(t *testing.T) {
	for _, tc := range []struct {
		name string
		want bool
	}{
		{"a", true}, {"0", true}, {"UT-01.b_c:9", true}, {strings.Repeat("n", 128), true},
		{"", false}, {strings.Repeat("n", 129), false}, {".a", false}, {"_a", false}, {"-a", false}, {":a", false},
		{"a b", false}, {"a/b", false}, {"a@b", false}, {"a\"", false}, {"a\\", false}, {"a\n", false}, {"a\x00", false}, {"é", false}, {"aé", false}, {"@a", false},
	} {
		if got := ValidName(tc.name); got != tc.want {
			t.Errorf("ValidName(%q) = %v", tc.name, got)
		}
	}
}

func TestParseDestination(t *testing.T) {
	const uuid = "0a7e8f52-5b3c-4a94-9d42-8c1a7a6b3f10"
	for _, tc := range []struct {
		dst  string
		kind DstKind
		name string
	}{
		{"", DstNone, ""}, {"ut-01", DstDevice, "ut-01"}, {"frontends", DstDevice, "frontends"}, {"@frontends", DstFrontends, ""},
		{"@user/alice", DstUser, "alice"}, {"@user/" + strings.Repeat("u", 128), DstUser, strings.Repeat("u", 128)}, {"@session/" + uuid, DstSession, uuid},
	} {
		d, err := ParseDestination([]byte(tc.dst))
		if err != nil || d.Kind != tc.kind || string(d.Name) != tc.name || (d.Name == nil) != (tc.name == "") {
			t.Errorf("%q: %d %q, %v", tc.dst, d.Kind, d.Name, err)
		}
	}
	for _, dst := range []string{
		"@", "@frontend", "@frontends/", "@Frontends", "@user", "@user/", "@user/a b", "@user/@user/a", "@user/" + strings.Repeat("u", 129),
		"@session/", "@session/" + uuid[1:], "@session/" + uuid + "0", "@session/" + strings.ToUpper(uuid), "@session/" + strings.Replace(uuid, "-", "0", 1),
		"@session/" + strings.Replace(uuid, "a", "g", 1), " ut-01", "ut 01", "-ut", "ut/01", "ü", "a\n", strings.Repeat("d", 129), strings.Repeat("\x00", 1000),
	} {
		d, err := ParseDestination([]byte(dst))
		fe, isField := errors.AsType[*FieldError](err)
		if !isField || fe.Field != "dst" || d.Kind != DstNone || d.Name != nil || len(err.Error()) > 400 {
			t.Errorf("%q: %d %q, %v", dst, d.Kind, d.Name, err)
		}
	}
}

func TestParseDestinationDoesNotAllocate(t *testing.T) {
	for _, dst := range []string{"", "ut-01", "@frontends", "@user/alice", "@session/0a7e8f52-5b3c-4a94-9d42-8c1a7a6b3f10"} {
		raw := []byte(dst)
		if n := testing.AllocsPerRun(100, func() {
			if _, err := ParseDestination(raw); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations", dst, n)
		}
	}
}
