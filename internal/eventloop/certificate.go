package eventloop

import (
	"cmp"
	stdtls "crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/internal/textfile"
)

const (
	// certificateInterval is how often the files of the TLS certificate are looked
	// at.
	certificateInterval = time.Second
	// maxCertificate bounds each of them in bytes.
	maxCertificate = 1 << 20
)

// certificate is the one that TLS shows, and its key. It is read again when
// its files have changed; connections that are there keep theirs.
//
// Goroutine: watch, from Loop.Start to Loop.Stop.
type certificate struct {
	certFile, keyFile string
	log               zerolog.Logger
	events            events.Listener // never nil
	counters          *Counters
	interval          time.Duration

	std  atomic.Pointer[stdtls.Certificate]
	llib atomic.Pointer[tls.Certificate]
	leaf atomic.Pointer[x509.Certificate]

	// mu guards read, found and loading.
	mu sync.Mutex
	// read are the files as they were read last, found as the last look found
	// them.
	read, found [2]fileStamp
}

// fileStamp tells whether a file has changed.
type fileStamp struct {
	info os.FileInfo
	err  string
}

func stampOf(path string) fileStamp {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{err: err.Error()}
	}
	return fileStamp{info: info}
}

func (a fileStamp) same(b fileStamp) bool {
	if a.info == nil || b.info == nil {
		return a.info == nil && b.info == nil && a.err == b.err
	}
	return os.SameFile(a.info, b.info) && a.info.Size() == b.info.Size() && a.info.ModTime().Equal(b.info.ModTime())
}

// loadCertificate reads the files. An error names the options.
func loadCertificate(o *Options, counters *Counters, log zerolog.Logger) (*certificate, error) {
	c := &certificate{certFile: o.TLSCert, keyFile: o.TLSKey, log: log, events: events.OrNop(o.Events), counters: counters, interval: cmp.Or(o.CertificateInterval, certificateInterval)}
	c.read = c.look()
	c.found = c.read
	return c, c.load()
}

func (c *certificate) look() [2]fileStamp {
	return [2]fileStamp{stampOf(c.certFile), stampOf(c.keyFile)}
}

// load reads both files and puts what they hold in force, in both
// implementations of TLS.
func (c *certificate) load() error {
	var data [2][]byte
	for i, path := range [...]string{c.certFile, c.keyFile} {
		var err error
		if data[i], err = textfile.Read(path, maxCertificate); err != nil {
			return fmt.Errorf("--tls-cert, --tls-key: %w", err)
		}
	}
	std, err := stdtls.X509KeyPair(data[0], data[1])
	if err != nil {
		return fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	leaf, err := x509.ParseCertificate(std.Certificate[0])
	if err != nil {
		return fmt.Errorf("--tls-cert: %w", err)
	}
	llib, err := tls.X509KeyPair(data[0], data[1])
	if err != nil {
		return fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	c.std.Store(&std)
	c.llib.Store(&llib)
	c.leaf.Store(leaf)
	if now := time.Now(); now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		c.log.Warn().Time("not_before", leaf.NotBefore).Time("not_after", leaf.NotAfter).Msg("the TLS certificate is not valid now; clients will not connect")
	}
	return nil
}

// watch looks for changed files until quit is closed.
func (c *certificate) watch(quit <-chan struct{}) {
	ticker := time.NewTicker(c.interval)
	defer ticker.Stop()
	for {
		select {
		case <-quit:
			return
		case <-ticker.C:
			c.poll()
		}
	}
}

// poll reads the files when they have changed, but not since the last look:
// one of them may have been replaced and the other be about to.
func (c *certificate) poll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, now := c.found, c.look()
	c.found = now
	unchanged := func(a, b [2]fileStamp) bool { return a[0].same(b[0]) && a[1].same(b[1]) }
	if unchanged(now, c.read) || !unchanged(now, before) {
		return
	}
	_ = c.reread(now) // logged
}

// reload reads the files at once, changed or not. On an error, which is logged
// and counted too, the certificate before stays in force.
func (c *certificate) reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found = c.look()
	return c.reread(c.found)
}

// reread loads the files, which had the stamps now before. The caller holds mu.
func (c *certificate) reread(now [2]fileStamp) error {
	c.read = now
	if err := c.load(); err != nil {
		c.counters.CertificateReloadFailures.Add(1)
		c.events.FileRead(events.FileRead{Option: "--tls-cert", Path: c.certFile, NotAfter: c.notAfter(), Err: err})
		return err
	}
	c.counters.CertificateReloads.Add(1)
	c.events.FileRead(events.FileRead{Option: "--tls-cert", Path: c.certFile, NotAfter: c.notAfter(), Changed: true})
	return nil
}

// ReloadCertificate reads the TLS certificate again, changed or not. It reports
// false without TLS. On an error the certificate before stays in force.
func (l *Loop) ReloadCertificate() (read bool, err error) {
	if l.certificate == nil {
		return false, nil
	}
	return true, l.certificate.reload()
}

// CertificateExpiry returns when the TLS certificate in use ends; zero without
// TLS.
func (l *Loop) CertificateExpiry() time.Time {
	if l.certificate == nil {
		return time.Time{}
	}
	return l.certificate.notAfter()
}

// notAfter is when the certificate in force ends.
func (c *certificate) notAfter() time.Time { return c.leaf.Load().NotAfter }

func (c *certificate) forStd(*stdtls.ClientHelloInfo) (*stdtls.Certificate, error) {
	return c.std.Load(), nil
}

func (c *certificate) forLlib(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.llib.Load(), nil
}
