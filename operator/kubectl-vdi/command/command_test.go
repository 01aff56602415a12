package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"

	vdi "github.com/vdi-platform/vdi-platform/operator/api/v1alpha1"
	"github.com/vdi-platform/vdi-platform/operator/story"
	"github.com/vdi-platform/vdi-platform/platform/wire"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func session(change ...func(*vdi.VDISession)) *vdi.VDISession {
	s := &vdi.VDISession{ObjectMeta: metav1.ObjectMeta{Name: "alice", Namespace: "desktops", UID: "u1", Generation: 3}}
	s.Spec.RunPolicy = vdi.RunPolicyRunning
	s.Status.ObservedGeneration, s.Status.Phase = 3, vdi.PhaseRunning
	for _, edit := range change {
		edit(s)
	}
	return s
}

func in(phase vdi.Phase) func(*vdi.VDISession) {
	return func(s *vdi.VDISession) { s.Status.Phase = phase }
}

func suspended(s *vdi.VDISession) { s.Spec.RunPolicy = vdi.RunPolicySuspended }

func older(s *vdi.VDISession) { s.Status.ObservedGeneration = 2 }

func stalled(s *vdi.VDISession) {
	s.Status.Conditions = []metav1.Condition{{Type: vdi.ConditionStalled, Status: metav1.ConditionTrue}}
}

func leaving(s *vdi.VDISession) { s.DeletionTimestamp = new(metav1.NewTime(noon)) }

// A wait ends where it comes to its goal, and where it cannot come there.
func TestReached(t *testing.T) {
	for name, c := range map[string]struct {
		session *vdi.VDISession
		to      goal
		done    bool
		err     string
	}{
		"running":                     {session(), goalRunning, true, ""},
		"starting":                    {session(in(vdi.PhaseCreating)), goalRunning, false, ""},
		"new":                         {session(in("")), goalRunning, false, ""},
		"failed":                      {session(in(vdi.PhaseFailed), stalled), goalRunning, false, "has failed"},
		"failed, and heals by itself": {session(in(vdi.PhaseFailed)), goalRunning, false, ""},
		"failed before a change":      {session(in(vdi.PhaseFailed), stalled, older), goalRunning, false, ""},
		"running before a change":     {session(older), goalRunning, false, ""},
		"nobody asks for it":          {session(in(vdi.PhaseSuspended), suspended), goalRunning, false, "resume alice -n desktops"},
		"being removed":               {session(leaving), goalRunning, false, "is being removed"},
		"gone":                        {nil, goalRunning, false, "there is no session alice"},
		"suspended":                   {session(in(vdi.PhaseSuspended), suspended), goalSuspended, true, ""},
		"shutting down":               {session(suspended), goalSuspended, false, ""},
		"suspended before a change":   {session(in(vdi.PhaseSuspended), older), goalSuspended, false, ""},
		"failed, to be suspended":     {session(in(vdi.PhaseFailed), suspended), goalSuspended, false, ""},
		"gone instead of suspended":   {nil, goalSuspended, false, "there is no session alice"},
		"deleted":                     {nil, goalDeleted, true, ""},
		"being removed, to be gone":   {session(leaving), goalDeleted, false, ""},
		"another one of that name":    {session(func(s *vdi.VDISession) { s.UID = "u2" }), goalDeleted, true, ""},
		"there, and to be gone later": {session(), goalDeleted, false, ""},
	} {
		done, err := reached(c.session, "alice", c.to, "u1")
		assert.Equal(t, c.done, done, name)
		if c.err == "" {
			assert.NoError(t, err, name)
		} else {
			assert.ErrorContains(t, err, c.err, name)
		}
	}
}

// An extension counts from the end that is shown, and never brings it nearer.
func TestExtension(t *testing.T) {
	ends := func(at time.Time) func(*vdi.VDISession) {
		return func(s *vdi.VDISession) { s.Status.ExpiresAt = new(metav1.NewTime(at)) }
	}
	kept := func(until time.Time) func(*vdi.VDISession) {
		return func(s *vdi.VDISession) { s.Spec.KeepAliveUntil = new(metav1.NewTime(until)) }
	}
	for name, c := range map[string]struct {
		session *vdi.VDISession
		want    string
		err     string
	}{
		"an end":            {session(ends(noon)), "2026-01-02T14:00:00Z", ""},
		"kept longer":       {session(ends(noon), kept(noon.Add(5*time.Hour))), "2026-01-02T17:00:00Z", ""},
		"kept less":         {session(ends(noon), kept(noon.Add(time.Hour))), "2026-01-02T14:00:00Z", ""},
		"no end":            {session(), "", "has no end"},
		"suspended":         {session(ends(noon), in(vdi.PhaseSuspended), suspended), "", "does not run"},
		"about to suspend":  {session(ends(noon), suspended), "", "does not run"},
		"has not begun yet": {session(ends(noon), in(vdi.PhaseCreating)), "", "does not run"},
	} {
		got, err := extension(c.session, 2*time.Hour)
		if c.err != "" {
			assert.ErrorContains(t, err, c.err, name)
			continue
		}
		require.NoError(t, err, name)
		assert.Equal(t, c.want, got["keepAliveUntil"], name)
	}
}

func TestFate(t *testing.T) {
	home := func(mine bool) func(*vdi.VDISession) {
		return func(s *vdi.VDISession) {
			s.Status.Home = &vdi.HomeStatus{ClaimName: "files", UID: "c1", CreatedByOperator: mine}
		}
	}
	for24h := func(s *vdi.VDISession) { s.Status.Home.RetainFor = "24h0m0s" }
	wishes := func(wish vdi.Duration) func(*vdi.VDISession) {
		return func(s *vdi.VDISession) { s.Spec.Persistence.RetainFor = wish }
	}
	deletes := func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete }
	assert.Equal(t, "Its home files is kept.", fate(session(home(true)), false))
	assert.Equal(t, "Its home files is DELETED with its files.", fate(session(home(true)), true))
	assert.Equal(t, "Its home files is DELETED with its files.", fate(session(home(true), deletes), false))
	assert.Equal(t, "Its home files is kept: the operator did not make it.", fate(session(home(false)), true))
	assert.Equal(t, "Its home files is kept for 24h0m0s, then it is DELETED with its files.", fate(session(home(true), for24h), false))
	assert.Equal(t, "Its home files is kept for 1h, then it is DELETED with its files.", fate(session(home(true), for24h, wishes("1h")), false))
	assert.Equal(t, "Its home files is kept.", fate(session(home(true), for24h, wishes("0")), false))
	assert.Equal(t, "Its home is not known yet; any home that it has is kept.", fate(session(), false))
	assert.Equal(t, "Its home is not known yet; any home that it has is DELETED with its files.", fate(session(), true))
	assert.Equal(t, "Its home is not known yet; any home that it has is DELETED with its files.", fate(session(deletes), false))
	noUID := func(s *vdi.VDISession) { s.Status.Home.UID = "" }
	assert.Contains(t, fate(session(home(true), noUID), true), "not known yet")
	own := func(s *vdi.VDISession) { s.Spec.Persistence.ExistingClaim = "mine" }
	assert.Equal(t, "Its home mine is kept: the operator did not make it.", fate(session(own), true))
	none := func(s *vdi.VDISession) { s.Spec.Persistence.Enabled = new(false) }
	assert.Equal(t, "It has no home that outlives it.", fate(session(none), true))
	assert.Contains(t, fate(session(none, home(true)), true), "DELETED", "it had one before")
}

// What is deleted is what somebody was asked about.
func TestDeleteWhatWasAskedAbout(t *testing.T) {
	deletes := func(s *vdi.VDISession) { s.Spec.Persistence.ReclaimPolicy = vdi.ReclaimDelete }
	another := func(s *vdi.VDISession) { s.UID = "u2" }
	assert.NoError(t, (&removal{}).same(session(), session(in(vdi.PhaseFailed))))
	assert.ErrorContains(t, (&removal{}).same(session(), session(deletes)), "nothing was deleted. Now it is: Its home is not known yet; any home that it has is DELETED")
	assert.NoError(t, (&removal{yes: true}).same(session(), session(deletes)), "nobody was asked")
	assert.ErrorContains(t, (&removal{yes: true}).same(session(), session(another)), "another session by now: nothing was deleted")
}

// A password is handed out only where it is the one that counts.
func TestHasPassword(t *testing.T) {
	has := func(s *vdi.VDISession) { s.Status.CredentialsSecret = "secret" }
	access := func(mode wire.AccessMode) func(*vdi.VDISession) {
		return func(s *vdi.VDISession) { s.Status.Access = &vdi.AccessStatus{Mode: vdi.AccessMode(mode)} }
	}
	assert.NoError(t, hasPassword(session(has, access(wire.AccessPassword))))
	assert.ErrorContains(t, hasPassword(session(access(wire.AccessPassword))), "gets one when it starts")
	assert.ErrorContains(t, hasPassword(session()), "gets one when it starts")
	assert.ErrorContains(t, hasPassword(session(access(wire.AccessOIDC))), "as themselves")
	assert.ErrorContains(t, hasPassword(session(has, older)), "try again in a moment")
}

// What cannot be interrupted by itself is left behind.
func TestWaitFor(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	got, err := waitFor(ctx, func() (string, error) { return "x", nil })
	assert.Equal(t, "x", got)
	require.NoError(t, err)
	cancel()
	_, err = waitFor(ctx, func() (string, error) { select {} })
	assert.ErrorIs(t, err, context.Canceled)
}

// What RBAC refuses is answered with the role; a policy says itself what to do.
func TestExplain(t *testing.T) {
	resource := schema.GroupResource{Group: "vdi.kasm.io", Resource: "vdisessions"}
	forbidden := func(words string) error { return apierrors.NewForbidden(resource, "alice", errors.New(words)) }
	said := explain(forbidden(`User "eve o'hara" cannot delete resource "vdisessions" in API group "vdi.kasm.io" in the namespace "desktops"`))
	assert.Contains(t, said, "the role vdi-user in namespace desktops")
	assert.Contains(t, said, `--user='eve o'\''hara'`)
	said = explain(forbidden(`ValidatingAdmissionPolicy 'sessions' with binding 'sessions' denied request: session desktops/alice belongs to somebody else: ask for the role vdi-admin`))
	assert.NotContains(t, said, "What is missing")
	assert.Contains(t, said, "vdi-admin")
	assert.Equal(t, notInstalled, explain(&apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonNotFound, Code: 404, Details: &metav1.StatusDetails{}}}))
	assert.Contains(t, explain(apierrors.NewNotFound(resource, "alice")), `(NotFound): vdisessions.vdi.kasm.io "alice" not found`)
	assert.Equal(t, "error: x", explain(errors.New("x")))
}

func TestNameOf(t *testing.T) {
	for arg, want := range map[string]string{"alice": "alice", "vdisession.vdi.kasm.io/alice": "alice", "vdi/alice": "alice"} {
		got, err := nameOf(arg)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	_, err := nameOf("pod/alice")
	assert.ErrorContains(t, err, "pod/alice is no session")
}

func TestWidths(t *testing.T) {
	assert.Equal(t, []string{"one two", "three", "fourfourfour"}, wrap("one two three  fourfourfour", 8))
	assert.Equal(t, "short", clip("short", 10))
	assert.Equal(t, "one two…", clip("one\ntwo three", 8))
}

// Nothing but a web page is handed to whatever opens addresses here.
func TestBrowserOpensWebPagesOnly(t *testing.T) {
	for _, address := range []string{"file:///etc/passwd", "--version", "", "javascript:alert(1)"} {
		assert.ErrorContains(t, openBrowser(t.Context(), address), "is no address of a web page", address)
	}
}

// Every command says what it is for, has an example, and hides nothing behind its own name.
func TestCommandsAreDescribed(t *testing.T) {
	root := New(genericiooptions.NewTestIOStreamsDiscard(), "1", "kubectl-vdi")
	require.Len(t, root.Commands(), 20)
	for _, c := range root.Commands() {
		assert.NotEmpty(t, c.Short, c.Name())
		assert.NotEmpty(t, c.GroupID, c.Name())
		assert.NotNil(t, c.ValidArgsFunction, "%s completes its arguments", c.Name())
		if c.Name() != "version" {
			assert.Contains(t, c.Example, "kubectl vdi "+c.Name(), c.Name())
		}
	}
}

// Called as vdi, everything is said with that name.
func TestCalledAsVDI(t *testing.T) {
	streams, _, out, errOut := genericiooptions.NewTestIOStreams()
	assert.Equal(t, 0, Run(t.Context(), streams, "1", []string{"/usr/bin/vdi", "create", "--help"}))
	assert.Contains(t, out.String(), "vdi create alice")
	assert.NotContains(t, out.String(), "kubectl vdi")
	assert.Equal(t, exitError, Run(t.Context(), streams, "1", []string{"vdi", "create", "alice"}))
	assert.Contains(t, errOut.String(), "`vdi templates`")
}

// Libraries write nothing between what we show.
func TestLibrariesAreSilent(t *testing.T) {
	before := os.Stderr
	out, in, err := os.Pipe()
	require.NoError(t, err)
	os.Stderr = in
	defer func() { os.Stderr = before }()
	assert.Equal(t, 0, Run(t.Context(), genericiooptions.NewTestIOStreamsDiscard(), "1", []string{"vdi", "version", "--client"}))
	klog.Error("a library's error")
	klog.FromContext(t.Context()).Error(nil, "another")
	klog.Flush()
	require.NoError(t, in.Close())
	text, err := io.ReadAll(out)
	require.NoError(t, err)
	assert.Empty(t, string(text))
}

// Without a cluster there is still a version, and a completion script.
func TestNeedsNoCluster(t *testing.T) {
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	for _, args := range []string{"version --client", "completion bash", "completion zsh", "completion fish", "help why"} {
		var out bytes.Buffer
		streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &out}
		assert.Equal(t, 0, Run(t.Context(), streams, "1", append([]string{"kubectl-vdi"}, strings.Fields(args)...)), args)
		assert.NotEmpty(t, out.String(), args)
	}
}

// Wrong words are refused in a sentence that says which are right, before a cluster is asked.
func TestBadInput(t *testing.T) {
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	for args, want := range map[string]string{
		"create alice --template t --dry-run=maybe": "--dry-run=maybe: give none, client or server",
		"suspend alice --dry-run=maybe":             "--dry-run=maybe: give none, client or server",
		"create alice --template t -o tea":          `unable to match a printer suitable for the output format "tea"`,
		"create alice --template t --open -o json":  "--open prints the URL",
		"suspend alice -o tea":                      `unable to match a printer suitable for the output format "tea"`,
		"resume alice -o jsonpath={":                "unclosed action",
		"extend alice 2h -o tea":                    `unable to match a printer suitable for the output format "tea"`,
		"delete alice --yes -o json":                `unable to match a printer suitable for the output format "json"`,
		"list a b -w":                               "give one name, or none",
		"extend alice":                              "give the name of a session and a time",
		"extend alice -- -2h":                       `"-2h" is no time`,
		"why":                                       "give the name of one session",
		"queue -o tea":                              "--output=tea: give wide, json, yaml or name",
		"top -o tea":                                "--output=tea: give wide, json, yaml or name",
		"top --by tea":                              "--by=tea: give session, user, template, node, namespace",
		"top --by user -o name":                     "people are no objects of the cluster",
		"list -o tea":                               `unable to match a printer suitable for the output format "tea"`,
		"tea":                                       `unknown command "tea"`,
		"list --tea":                                "unknown flag: --tea",
	} {
		streams, _, _, errOut := genericiooptions.NewTestIOStreams()
		assert.Equal(t, exitError, Run(t.Context(), streams, "1", append([]string{"kubectl-vdi"}, strings.Fields(args)...)), args)
		assert.Contains(t, errOut.String(), want, args)
	}
}

// Whoever writes messages, a registry for instance, controls nobody's terminal.
func TestNothingControlsTheTerminal(t *testing.T) {
	const evil = "registry says\n\x1b]0;owned\x07 \x1b[2J\rRunning"
	s := session(in(vdi.PhasePending), func(s *vdi.VDISession) { s.Status.Message = evil })
	assert.NotContains(t, line(s), "\x1b")
	assert.NotContains(t, line(s), "\n")
	assert.NotContains(t, explain(errors.New(evil)), "\x1b")
	streams, _, out, _ := genericiooptions.NewTestIOStreams()
	tool := &tool{IOStreams: streams, color: "never", shown: plugin}
	require.NoError(t, tool.printStory(story.Facts{Now: noon, Session: s}, ""))
	assert.Contains(t, out.String(), "registry says ^[]0;owned")
	assert.NotContains(t, out.String(), "\x1b")
	assert.Equal(t, `a ^[b^Gc^?\u009b\u202e`+"\ufffd", oneLine("a\r\n\x1bb\x07c\x7f\u009b\u202e\x9b"))
	assert.Equal(t, "error: a\nb^[", explain(errors.New("a\nb\x1b")))
	out.Reset()
	require.NoError(t, tool.printStory(story.Facts{Now: noon, Session: session(), Unread: []string{evil}, Failed: []string{"nodes: " + evil}}, ""))
	require.NoError(t, tool.printVersions(versions{Unknown: evil}, "", false))
	require.NoError(t, tool.printVersions(versions{Platform: evil}, "", false))
	assert.NotContains(t, out.String(), "\x1b")
	assert.NotContains(t, out.String(), "\x07")
}

// Colours are for terminals, or where they are asked for.
func TestColors(t *testing.T) {
	streams, _, out, _ := genericiooptions.NewTestIOStreams()
	for color, want := range map[string]string{"auto": "Running", "never": "Running", "always": "\x1b[32mRunning\x1b[0m"} {
		tool := &tool{IOStreams: streams, color: color}
		require.NoError(t, tool.checkColor())
		assert.Equal(t, want, tool.paint(out, vdi.PhaseRunning))
	}
}
