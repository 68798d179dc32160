package acceptance

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/wsframe"
)

// TestOpenSSLClient: another implementation of TLS can connect, upgrade to a
// WebSocket and exchange messages, with each TLS version of the mode. Older
// versions are refused.
func TestOpenSSLClient(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mode     echoMode
		versions []string
	}{
		{echoModes[3], []string{"-tls1_2", "-tls1_3"}},
		{echoModes[4], []string{"-tls1_2", "-tls1_3"}},
	} {
		t.Run(c.mode.name, func(t *testing.T) {
			t.Parallel()
			g := startEcho(t, c.mode)
			for _, version := range c.versions {
				if err := talkOpenSSL(t, g, version); err != nil {
					t.Errorf("%s: %v", version, err)
				}
			}
			if err := talkOpenSSL(t, g, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"); err == nil {
				t.Error("TLS 1.1 is spoken")
			}
			gatewaytest.Eventually(t, "all sessions are gone", func() bool { return g.Metric("labgate_connections") == 0 })
		})
	}
}

// talkOpenSSL runs one conversation through openssl s_client.
func talkOpenSSL(t *testing.T, g *gatewaytest.Gateway, args ...string) error {
	t.Helper()
	// -quiet: no output except the bytes of the connection, and no
	// interpretation of commands in the input.
	cmd := exec.Command("openssl", append([]string{"s_client", "-quiet", "-connect", g.Addr}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("openssl: %v (make setup installs what the tests need)", err)
	}
	ended := time.AfterFunc(gatewaytest.Patience, func() { _ = cmd.Process.Kill() })
	defer func() {
		ended.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()

	fmt.Fprintf(in, "GET /ws/echo HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", g.Addr)
	r := bufio.NewReaderSize(out, 1<<20)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("%s", res.Status)
	}
	// Some messages are larger than a TLS record.
	for _, n := range []int{5, 1000, 16 << 10, 200 << 10} {
		payload := strings.Repeat("s", n)
		if _, err := in.Write(frame(0x81, payload)); err != nil {
			return err
		}
		want := wsframe.AppendFrame(nil, wsframe.OpText, []byte(payload))
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("%d bytes came back as %.20q %v", n, got, err)
		}
	}
	if _, err := in.Write(frame(0x88, closing(1000, ""))); err != nil {
		return err
	}
	rest, err := io.ReadAll(r)
	if err != nil || len(rest) != 4 || binary.BigEndian.Uint16(rest[2:]) != 1000 {
		return fmt.Errorf("at the end: %x %v", rest, err)
	}
	return nil
}
