package kubectl

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// othersWork bounds what another process does meanwhile.
const othersWork = 30 * time.Second

// terminal is a program in a pseudo-terminal, and a person before it.
type terminal struct {
	t      *testing.T
	master *os.File
	ended  chan int

	mu   sync.Mutex
	seen bytes.Buffer
}

// sits starts a program in a terminal of 80 columns.
func (w *world) sits(t *testing.T, args ...string) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}))
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	c := w.command(t, "kubectl-vdi", args...)
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, c.Start())
	require.NoError(t, slave.Close())
	s := &terminal{t: t, master: master, ended: make(chan int, 1)}
	go s.read()
	go func() {
		_ = c.Wait()
		s.ended <- c.ProcessState.ExitCode()
	}()
	return s
}

func (s *terminal) read() {
	part := make([]byte, 4096)
	for {
		n, err := s.master.Read(part)
		s.mu.Lock()
		s.seen.Write(part[:n])
		s.mu.Unlock()
		if err != nil { // the program has ended
			return
		}
	}
}

func (s *terminal) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

// shows waits until something is on the screen.
func (s *terminal) shows(words string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return strings.Contains(s.text(), words) }, othersWork, 10*time.Millisecond, "%q is shown", words)
}

func (s *terminal) types(keys string) {
	s.t.Helper()
	_, err := s.master.WriteString(keys)
	require.NoError(s.t, err)
}

func (s *terminal) ends() int {
	s.t.Helper()
	select {
	case code := <-s.ended:
		return code
	case <-time.After(othersWork):
		require.Fail(s.t, "the program goes on", "%s", s.text())
		return -1
	}
}

// A person sees how far a start is, in one line that goes away.
func TestProgress(t *testing.T) {
	w.ends(t, "desktops", "watching")
	s := w.sits(t, "create", "watching", "-n", "desktops", "--template", "plain", "--user", "watching", "--wait")
	s.shows("vdisession.vdi.kasm.io/watching created")
	s.shows("the operator has not looked at it yet")
	w.operator(t, "desktops", "watching", map[string]any{"phase": "Creating", "message": "The node is preparing " + strings.Repeat("the image ", 20)})
	s.shows("Creating - The node is preparing")
	s.shows("…")
	w.operator(t, "desktops", "watching", running("watching"))
	assert.Equal(t, 0, s.ends())
	require.Eventually(t, func() bool { return strings.HasSuffix(s.text(), "\r\x1b[K") }, othersWork, 10*time.Millisecond, "the line is taken away")
}

// Ctrl-C ends a wait at once, and leaves the session as it is.
func TestInterrupt(t *testing.T) {
	s := w.sits(t, "open", "bob", "-n", "desktops")
	s.shows("Pending - Waiting for a GPU")
	s.types("\x03")
	assert.Equal(t, 130, s.ends())
	assert.Contains(t, w.transcript(t, "list -n desktops bob"), "Pending")
}

// Nothing is deleted before a person has said so.
func TestDeleteAsks(t *testing.T) {
	w.made(t, "asked")
	s := w.sits(t, "delete", "asked", "-n", "desktops")
	s.shows("Delete session asked of asked?")
	s.types("n\r")
	assert.Equal(t, 1, s.ends())
	s.shows("asked is kept")
	s = w.sits(t, "delete", "asked", "-n", "desktops")
	s.shows("[y/N]")
	s.types("y\r")
	assert.Equal(t, 0, s.ends())
	assert.Contains(t, w.transcript(t, "list -n desktops asked"), "not found")
}

// What was asked about is what is deleted: not a home that was to be kept.
func TestDeleteAsksAgain(t *testing.T) {
	w.made(t, "changing")
	s := w.sits(t, "delete", "changing", "-n", "desktops")
	s.shows("is kept. [y/N]")
	o := w.session(t, "desktops", "changing")
	require.NoError(t, w.client.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"persistence":{"reclaimPolicy":"Delete"}}}`))))
	s.types("y\r")
	assert.Equal(t, 1, s.ends())
	s.shows("has changed meanwhile, and nothing was deleted")
	assert.Nil(t, w.session(t, "desktops", "changing").GetDeletionTimestamp())
}

// Ctrl-C at the question deletes nothing.
func TestInterruptOfAQuestion(t *testing.T) {
	w.made(t, "undecided")
	s := w.sits(t, "delete", "undecided", "-n", "desktops")
	s.shows("[y/N]")
	s.types("\x03")
	assert.Equal(t, 130, s.ends())
	assert.Nil(t, w.session(t, "desktops", "undecided").GetDeletionTimestamp())
}

// A password is on no screen unless somebody asks for that.
func TestPasswordOnAScreen(t *testing.T) {
	const password = "a-password-of-tests"
	s := w.sits(t, "password", "alice", "-n", "desktops")
	assert.Equal(t, 1, s.ends())
	s.shows("say --show")
	assert.NotContains(t, s.text(), password)
	s = w.sits(t, "password", "alice", "-n", "desktops", "--show")
	assert.Equal(t, 0, s.ends())
	s.shows(password + "\r\n")
}

// On a screen there are colours, and lines of its width.
func TestColoursOnAScreen(t *testing.T) {
	s := w.sits(t, "why", "erin", "-n", "desktops")
	assert.Equal(t, 0, s.ends())
	s.shows("\x1b[31mFailed\x1b[0m")
	s.shows("template that is there;\r\n")
	s = w.sits(t, "why", "erin", "-n", "desktops", "--color=never")
	assert.Equal(t, 0, s.ends())
	s.shows("Template not found: gone")
	assert.NotContains(t, s.text(), "\x1b[")
}
