package web_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// chromium is a browser that the tests started, with a home of its own.
type chromium struct {
	*devtools
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended
	dir    string
}

// The browser that all tests share, each with tabs in a context of its own.
var (
	browserOnce sync.Once
	browser     *chromium
	browserErr  error
)

// sharedBrowser starts the browser for the first test that needs it.
func sharedBrowser(t *testing.T) *chromium {
	t.Helper()
	browserOnce.Do(func() { browser, browserErr = startChromium() })
	if browserErr != nil {
		t.Fatal(browserErr)
	}
	return browser
}

func stopBrowser() error {
	if browser == nil {
		return nil
	}
	return browser.stop()
}

func startChromium() (*chromium, error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, errors.New("chromium is not installed and the page cannot be tested without a browser; run `make setup`")
	}
	dir, err := os.MkdirTemp("", "labgate-chromium-")
	if err != nil {
		return nil, err
	}
	c := &chromium{dir: dir, exited: make(chan struct{})}
	profile := filepath.Join(dir, "profile")
	c.cmd = exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad",
		"--disable-dev-shm-usage", "--remote-debugging-port=0", "--user-data-dir="+profile, "about:blank")
	// All other files of the browser go into the same directory.
	c.cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir)
	// The browser has its own process group, so that its helper processes can
	// be ended with it.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.exited)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	url, err := c.endpoint(ctx, filepath.Join(profile, "DevToolsActivePort"))
	if err == nil {
		c.devtools, err = dialDevtools(ctx, url)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("chromium: %w", err), c.stop())
	}
	return c, nil
}

// endpoint waits for the file in which the browser writes its address.
func (c *chromium) endpoint(ctx context.Context, file string) (string, error) {
	for {
		data, err := os.ReadFile(file)
		if port, path, ok := strings.Cut(strings.TrimSpace(string(data)), "\n"); err == nil && ok {
			return "ws://127.0.0.1:" + port + path, nil
		}
		select {
		case <-ctx.Done():
			return "", errors.New("it did not open its DevTools port in time")
		case <-c.exited:
			return "", fmt.Errorf("it ended at once: %v", c.cmd.ProcessState)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop asks the browser to end, kills it if it does not, and removes its
// directory.
func (c *chromium) stop() error {
	if c.devtools != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_ = c.call(ctx, "", "Browser.close", struct{}{}, nil)
		cancel()
		c.close()
		select {
		case <-c.exited:
		case <-time.After(5 * time.Second):
		}
	}
	// The group exists as long as any of its processes does.
	err := syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		err = nil
	}
	<-c.exited
	// Helpers that were just ended may still be writing.
	for range 50 {
		if e := os.RemoveAll(c.dir); e == nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}
