package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// childMode makes a run of this test binary the gateway of
// TestDescriptorsUsedUp, whose limit of descriptors is for a whole process.
const childMode = "LABGATE_TEST_DESCRIPTORS"

// spare is how many descriptors the child's gateway has for connections.
const spare = 10

// TestDescriptorsUsedUp connects more clients than the gateway's process has
// descriptors for: it serves some, lets the others wait without a flood of log
// lines or a spinning processor, and serves them when there is room.
func TestDescriptorsUsedUp(t *testing.T) {
	if os.Getenv(childMode) != "" {
		serveWithFewDescriptors(t, os.Getenv(childMode))
		return
	}
	eachMode(t, func(t *testing.T, m mode) {
		child := exec.Command(os.Args[0], "-test.run=^TestDescriptorsUsedUp$", "-test.timeout=2m")
		child.Env = append(os.Environ(), childMode+"="+m.name)
		var log bytes.Buffer
		child.Stderr = &log
		stdin, err := child.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = stdin.Close()
			said, _ := io.ReadAll(stdout)
			if err := child.Wait(); err != nil {
				t.Errorf("the gateway's process: %v\n%s%s", err, said, log.String())
			}
			if n := strings.Count(log.String(), `"level":"warn"`) + strings.Count(log.String(), `"level":"error"`); n > 10 {
				t.Errorf("%d warnings and errors were logged:\n%.2000s", n, log.String())
			}
			if n := strings.Count(log.String(), "cannot accept"); n != 1 {
				t.Errorf("%d warnings, want one:\n%.2000s", n, log.String())
			}
		}()
		out := bufio.NewReader(stdout)
		readLine := func() string {
			line, err := out.ReadString('\n')
			if err != nil {
				t.Fatalf("%v\n%s", err, log.String())
			}
			return strings.TrimSpace(line)
		}
		addr := readLine()

		var waiting []net.Conn
		for range 3 * spare {
			conn, err := net.DialTimeout("tcp", addr, patience)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			waiting = append(waiting, conn)
		}
		// Those that were accepted hold their descriptors; nothing is said
		// over them, and with TLS nothing can be.
		time.Sleep(1200 * time.Millisecond)
		fmt.Fprintln(stdin, "report")
		report := strings.Fields(readLine())
		accepted, _ := strconv.Atoi(report[0])
		failures, _ := strconv.Atoi(report[1])
		cpu, _ := time.ParseDuration(report[2])
		// The test's own question to the admin listener may have held two more.
		if accepted == 0 || accepted > spare+2 {
			t.Errorf("%d connections with %d descriptors", accepted, spare)
		}
		// One try each pause.
		const acceptPause = 50 * time.Millisecond
		if most := int(2 * 1200 * time.Millisecond / acceptPause); failures == 0 || failures > most {
			t.Errorf("%d tries failed, 1 to %d expected", failures, most)
		}
		if cpu > 600*time.Millisecond {
			t.Errorf("waiting took %v of processor time", cpu)
		}

		// Room again: those that wait are served, all of them.
		for _, conn := range waiting[:spare] {
			conn.Close()
		}
		g := &gateway{Server: &Server{addr: addr}, t: t, mode: m, anyCert: true}
		served := 0
		for _, conn := range waiting[spare:] {
			secured, err := g.secure(conn)
			if err == nil {
				_, err = g.upgradeOver(secured, "/ws/frontend")
			}
			if err != nil {
				t.Errorf("a connection that waited: %v", err)
				continue
			}
			served++
			conn.Close()
		}
		if want := 2 * spare; served != want {
			t.Errorf("%d served, want %d", served, want)
		}
	})
}

func serveWithFewDescriptors(t *testing.T, name string) {
	for _, m := range modes {
		if m.name != name {
			continue
		}
		log := zerolog.New(os.Stderr).Level(zerolog.InfoLevel)
		SetEngineLogger(log)
		g := start(t, m, func(o *Options) { o.Logger, o.HandshakeTimeout = log, time.Minute })
		// Whatever the runtime and the test still open comes before the count.
		g.askAdmin("/healthz")
		free, highest := 0, 0
		for ; free < spare; highest++ {
			var stat unix.Stat_t
			if unix.Fstat(highest, &stat) == unix.EBADF {
				free++
			}
		}
		limit := unix.Rlimit{Cur: uint64(highest), Max: uint64(highest)}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		began := cpuTime(t)
		fmt.Println(g.Addr())
		in := bufio.NewReader(os.Stdin)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if line == "report\n" {
				fmt.Println(g.admission.Counters().Connections.Load(), g.loop.Counters().AcceptErrors.Load(), cpuTime(t)-began)
			}
		}
	}
}

func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
