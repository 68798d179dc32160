package acceptance

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
)

// TestFilesThatArePipes: a named pipe without a writer ends in an error that names
// option and path. A command whose output is the file (<(command) in the
// shell) works for files that are read once.
func TestFilesThatArePipes(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	check := []string{"serve", "--check-config", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}
	redis := append(check, "--redis", "rediss://127.0.0.1:1")
	for option, args := range map[string][]string{
		"--config":                append(check[:len(check):len(check)], "--config", pipe),
		"--credential-file":       append(check[:len(check):len(check)], "--credential-file", pipe),
		"--admin-token-file":      append(check[:len(check):len(check)], "--admin-token-file", pipe),
		"--jwks-file":             append(check[:len(check):len(check)], "--jwks-file", pipe),
		"--tls-cert":              append(check[:len(check):len(check)], "--tls-cert", pipe, "--tls-key", pipe),
		"--client-ca":             append(check[:len(check):len(check)], "--tls-cert", pipe, "--tls-key", pipe, "--client-ca", pipe),
		"--redis":                 append(redis[:len(redis):len(redis)], "--redis-ca", pipe),
		"--redis (password file)": append(redis[:len(redis):len(redis)], "--redis-password-file", pipe),
		"--token-file":            {"send", "--token-file", pipe, "tensile-1", "test.stop"},
	} {
		t.Run(option, func(t *testing.T) {
			t.Parallel()
			p := gatewaytest.Start(t, append([]string{gatewaytest.Labgate(t)}, args...)...)
			code := p.Wait(time.Minute)
			name, _, _ := strings.Cut(option, " ")
			if said := strings.Join(p.Stderr.All(), "\n"); code == 0 || !gatewaytest.Contains(said, name, pipe, " a pipe ") {
				t.Errorf("exit code %d: %s", code, said)
			}
		})
	}
	t.Run("output of a command", func(t *testing.T) {
		t.Parallel()
		said, err := exec.Command("bash", "-c", `"$0" `+strings.Join(check, " ")+` --config <(sleep 0.2; echo '{"max_message": 5}')`, gatewaytest.Labgate(t)).CombinedOutput()
		if _, exited := err.(*exec.ExitError); !exited || !strings.Contains(string(said), "--max-message 5") {
			t.Errorf("%v: %s", err, said)
		}
		if said, err := exec.Command("bash", "-c", `"$0" `+strings.Join(check, " ")+` --config <(sleep 0.2; echo '{"max_message": 2048}')`, gatewaytest.Labgate(t)).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, said)
		}
	})
}
