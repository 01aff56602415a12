package cluster

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vdi-platform/vdi-platform/tests/cluster/gpu"
)

// Options shape a node cluster; the zero value is a good one.
type Options struct {
	// Name tells clusters of one checkout apart; empty means "demo".
	Name string `json:"name"`
	// Forwards make ports of the node reachable on the host's 127.0.0.1.
	Forwards []Forward `json:"forwards,omitempty"`
	// GPU shapes the made-up GPUs; zero fields get defaults: one card, product
	// NVIDIA-L4, ConfigMap time-slicing-config in any namespace, key "any".
	GPU gpu.Options `json:"gpu"`
	// NoGPU leaves the GPU stand-in out.
	NoGPU bool `json:"noGPU,omitempty"`
	// NoPolicies leaves out what enforces NetworkPolicies.
	NoPolicies bool `json:"noPolicies,omitempty"`
	// APIServerArgs are added to the API server's own.
	APIServerArgs []string `json:"apiServerArgs,omitempty"`
	// DieWithParent ends the cluster when the calling process dies, for tests.
	DieWithParent bool `json:"dieWithParent,omitempty"`
	// Progress is told each step and how long it took. Nil means stderr.
	Progress io.Writer `json:"-"`
}

// Forward is a port on the host's 127.0.0.1 that leads to a port of the node.
type Forward struct {
	Host int `json:"host"`
	Node int `json:"node"`
}

// ParseForward reads HOSTPORT:NODEPORT.
func ParseForward(text string) (Forward, error) {
	host, node, ok := strings.Cut(text, ":")
	f := Forward{}
	var errs [2]error
	f.Host, errs[0] = strconv.Atoi(host)
	f.Node, errs[1] = strconv.Atoi(node)
	if !ok || errors.Join(errs[:]...) != nil || f.Host < 1 || f.Host > 65535 || f.Node < 1 || f.Node > 65535 {
		return Forward{}, fmt.Errorf("forward %q is not HOSTPORT:NODEPORT", text)
	}
	return f, nil
}

func (f Forward) String() string { return fmt.Sprintf("%d:%d", f.Host, f.Node) }

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// withDefaults fills what the caller left open.
func (o Options) withDefaults() (Options, error) {
	if o.Name == "" {
		o.Name = "demo"
	}
	if !validName.MatchString(o.Name) {
		return o, fmt.Errorf("cluster name %q must be lower case letters, digits and dashes, at most 32", o.Name)
	}
	if o.Progress == nil {
		o.Progress = os.Stderr
	}
	if o.GPU.Cards == 0 {
		o.GPU.Cards = 1
	}
	for field, value := range map[*string]string{
		&o.GPU.Product:   "NVIDIA-L4",
		&o.GPU.ConfigMap: "time-slicing-config",
		&o.GPU.Default:   "any",
	} {
		if *field == "" {
			*field = value
		}
	}
	return o, nil
}

// state is what the host side knows about a cluster, kept in cluster.json.
type state struct {
	Options Options  `json:"options"`
	Root    string   `json:"root"` // of the repository
	Dir     string   `json:"dir"`
	Subnets subnets  `json:"subnets"`
	Daemon  identity `json:"daemon"`
	Init    identity `json:"init"` // process 1 of the cluster's namespaces
	Ready   bool     `json:"ready"`
}

// id is short, safe as an interface name and tells checkouts apart.
func (s state) id() string {
	return fmt.Sprintf("vdi%x", sha256.Sum256([]byte(s.Dir)))[:11]
}

func (s state) link() string   { return s.id() }
func (s state) cgroup() string { return "vdi-" + s.Options.Name + "-" + s.id()[3:] }
func (s state) node() string   { return s.Options.Name + "-node" }

func (s state) path(parts ...string) string {
	return filepath.Join(append([]string{s.Dir}, parts...)...)
}

func (s state) repo() repository { return repository{root: s.Root} }

// inside is a path of the cluster's own mount namespace, seen from the host.
func (s state) inside(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", s.Init.PID, path)
}

func readState(dir string) (state, error) {
	content, err := os.ReadFile(filepath.Join(dir, "cluster.json"))
	if err != nil {
		return state{}, err
	}
	var s state
	if err := json.Unmarshal(content, &s); err != nil {
		return state{}, fmt.Errorf("read state of cluster: %w", err)
	}
	return s, nil
}

// write replaces the file at once: it is read by other processes.
func (s state) write() error {
	content, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write state of cluster: %w", err)
	}
	next := s.path("cluster.json.next")
	if err := os.WriteFile(next, content, 0o644); err != nil {
		return fmt.Errorf("write state of cluster: %w", err)
	}
	return os.Rename(next, s.path("cluster.json"))
}

// identity names a process for good: process numbers are used again, so only
// together with the time of its start is it known to be ours.
type identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after boot
}

func identityOf(pid int) (identity, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return identity{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	// The name in brackets may hold anything; field 22 is the 20th after it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return identity{}, fmt.Errorf("identify process %d: it has ended", pid)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return identity{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	return identity{PID: pid, Start: start}, nil
}

func (i identity) alive() bool {
	now, err := identityOf(i.PID)
	return err == nil && i.PID != 0 && now == i
}

// report is one line of the channel from a starting cluster to its caller.
type report struct {
	Step  string        `json:"step,omitempty"`
	Took  time.Duration `json:"took,omitempty"`
	Error string        `json:"error,omitempty"`
	Ready bool          `json:"ready,omitempty"`
}

// reportFD is where the daemon and its children find that channel.
const reportFD = 3

type reporter struct{ file *os.File }

func newReporter() reporter {
	unix.CloseOnExec(reportFD) // only those we mean to have it keep it open
	return reporter{file: os.NewFile(reportFD, "report")}
}

// send is best effort: the caller may be gone, and the cluster goes on.
func (r reporter) send(line report) {
	content, err := json.Marshal(line)
	if err == nil {
		_, _ = r.file.Write(append(content, '\n'))
	}
}
